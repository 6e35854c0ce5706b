package sys

import (
	"sync"
	"sync/atomic"
)

// The library calls hooks with the number under which they are registered here, because it cannot
// keep a pointer of Go's.
var hooks struct {
	functions sync.Map // uintptr to func
	last      atomic.Uintptr
}

func register(hook any) uintptr {
	number := hooks.last.Add(1)
	hooks.functions.Store(number, hook)
	return number
}

// RegisterLog returns what a log hook's user data must be.
func RegisterLog(hook func(level int32, text string)) uintptr { return register(hook) }

// RegisterProgress returns what a progress hook's user data must be. The hook returns false to
// cancel.
func RegisterProgress(hook func(done, total uint64) bool) uintptr { return register(hook) }

// Unregister forgets a hook; 0 is none.
func Unregister(number uintptr) { hooks.functions.Delete(number) }

// callLog is what the library reaches by the function that LogFunction returns. A panic must not
// unwind through its frames.
func callLog(number uintptr, level int32, text uintptr, bytes uint64) {
	defer func() { recover() }()
	if hook, ok := hooks.functions.Load(number); ok {
		hook.(func(int32, string))(level, string(Slice[byte](text, bytes)))
	}
}

// callProgress is callLog's like for ProgressFunction. A hook that panics cancels.
func callProgress(number uintptr, done, total uint64) (cancel int32) {
	cancel = 1
	defer func() { recover() }()
	if hook, ok := hooks.functions.Load(number); ok && hook.(func(uint64, uint64) bool)(done, total) {
		cancel = 0
	}
	return cancel
}
