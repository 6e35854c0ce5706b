package fathom

import (
	"runtime"
	"sync/atomic"

	"fathom.dev/go/internal/sys"
)

// A handle guards one native object. The library forbids releasing a handle that another thread is
// using, so close only marks it, and whoever uses it last frees it.
type handle struct {
	state atomic.Uint64 // Calls under way, and the closed bit.
	free  func()
}

const closedBit = 1 << 63

// own makes the handle of object. If object is collected without having been closed, the handle
// closes all the same: free must not refer to object.
func own[T any](object *T, free func()) *handle {
	h := &handle{free: free}
	runtime.AddCleanup(object, func(h *handle) { h.close() }, h)
	return h
}

// acquire keeps the native object alive until release. It fails once the handle is closed.
func (h *handle) acquire() error {
	for {
		state := h.state.Load()
		if state&closedBit != 0 {
			return ErrClosed
		}
		if h.state.CompareAndSwap(state, state+1) {
			return nil
		}
	}
}

func (h *handle) release() {
	if h.state.Add(^uint64(0)) == closedBit {
		h.free()
	}
}

// close is idempotent.
func (h *handle) close() {
	if h.state.Or(closedBit) == 0 {
		h.free()
	}
}

// try makes a short fallible call with the native object kept alive.
func (h *handle) try(call func(failure *sys.Error) int32) (err error) {
	if err := h.acquire(); err != nil {
		return err
	}
	defer h.release()
	short(func() { err = try(call) })
	return err
}

// tryLong is try for a call that may take as long as it likes.
func (h *handle) tryLong(call func(failure *sys.Error) int32) error {
	if err := h.acquire(); err != nil {
		return err
	}
	defer h.release()
	return try(call)
}

// callers bounds the threads inside short calls. The Go runtime replaces a thread that is inside C
// for more than a few microseconds, and the system may well keep one there for milliseconds; so
// without a bound many goroutines would become many threads.
var callers = newLimiter(runtime.NumCPU())

func short(call func()) {
	callers.enter()
	defer callers.leave()
	call()
}

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
	if l.room.Add(-1) < 0 {
		<-l.ready
	}
}

func (l *limiter) leave() {
	if l.room.Add(1) <= 0 {
		l.ready <- struct{}{}
	}
}
