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

// try makes a fallible call with the native object kept alive.
func (h *handle) try(l *limiter, call func(failure *sys.Error) int32) error {
	if err := h.acquire(); err != nil {
		return err
	}
	defer h.release()
	return l.try(call)
}
