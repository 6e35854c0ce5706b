package fathom

import (
	"runtime"
	"sync/atomic"

	"fathom.dev/go/internal/sys"
)

// The Go runtime replaces a thread that is inside C for more than a few microseconds, and the
// system may well keep one there for milliseconds. So without a bound on the calls at a time many
// goroutines would become many threads. With these, six at most beside those that run Go.
var (
	// quick is for calls of microseconds.
	quick = newLimiter(min(runtime.NumCPU(), 4))
	// slow is for calls that take the longer the longer their text is: they have a bound of their
	// own so that they do not hold up events.
	slow = newLimiter(min(max(runtime.NumCPU()/2, 1), 2))
	// unbounded is for calls that a program makes once in a while and that may wait.
	unbounded *limiter
)

// A limiter lets so many in at a time. It is a channel of permits with a counter before it: the way
// in and out is two additions as long as nobody has to wait.
type limiter struct {
	room  atomic.Int64 // Below 0: how many wait.
	ready chan struct{}
}

func newLimiter(n int) *limiter {
	l := &limiter{ready: make(chan struct{})}
	l.room.Store(int64(n))
	return l
}

func (l *limiter) enter() {
	if l != nil && l.room.Add(-1) < 0 {
		<-l.ready
	}
}

func (l *limiter) leave() {
	if l != nil && l.room.Add(1) <= 0 {
		l.ready <- struct{}{}
	}
}

func (l *limiter) do(call func()) {
	l.enter()
	defer l.leave()
	call()
}

// try makes one fallible call of the library and turns its outcome into an error.
func (l *limiter) try(call func(failure *sys.Error) int32) error {
	var failure sys.Error
	var status int32
	l.do(func() { status = call(&failure) })
	if status == sys.OK {
		return nil
	}
	defer sys.ErrorRelease(failure)
	return &Error{Status(status), sys.GoString(sys.ErrorMessage(failure))}
}
