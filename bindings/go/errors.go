package fathom

import (
	"errors"
	"fmt"

	"fathom.dev/go/internal/sys"
)

// A Status says in what way a call failed. It is an error to compare with:
//
//	if errors.Is(err, fathom.ErrContextFull) { ... }
type Status int32

// The statuses of the library, in the words of its header.
const (
	// ErrInvalidArgument: an argument, option or token id is out of its documented range.
	ErrInvalidArgument Status = sys.InvalidArgument
	// ErrBadState: the object cannot do this in its present state.
	ErrBadState Status = sys.BadState
	// ErrBusy: another call uses the object.
	ErrBusy Status = sys.Busy
	// ErrCancelled: the work was cancelled by the host.
	ErrCancelled Status = sys.Cancelled
	// ErrTimeout: nothing happened within the time given, or a deadline passed.
	ErrTimeout Status = sys.Timeout
	// ErrNoMemory: the system refused memory, a thread or a descriptor.
	ErrNoMemory Status = sys.NoMemory
	// ErrBudget: the work does not fit into the budget that the host set.
	ErrBudget Status = sys.Budget
	// ErrIO: the system failed to read a file.
	ErrIO Status = sys.IO
	// ErrFormat: a file, JSON text or tokenizer does not follow its format.
	ErrFormat Status = sys.Format
	// ErrIntegrity: contents do not match their checksum.
	ErrIntegrity Status = sys.Integrity
	// ErrUnsupported: well-formed, but this library cannot do it.
	ErrUnsupported Status = sys.Unsupported
	// ErrTemplate: the dialect cannot render this conversation.
	ErrTemplate Status = sys.Template
	// ErrGrammar: a grammar or schema is wrong.
	ErrGrammar Status = sys.Grammar
	// ErrContextFull: the prompt does not fit into the session's context.
	ErrContextFull Status = sys.ContextFull
	// ErrDevice: a device failed at something.
	ErrDevice Status = sys.Device
	// ErrDeviceLost: a device is gone; its engine is unusable, others are not.
	ErrDeviceLost Status = sys.DeviceLost
	// ErrShutdown: the engine is shutting down.
	ErrShutdown Status = sys.Shutdown
	// ErrInternal: a mistake in the library. Please report the message.
	ErrInternal Status = sys.Internal
)

// Error returns the library's name of the status.
func (s Status) Error() string {
	if !sys.Loaded() {
		return fmt.Sprintf("fathom status %d", int32(s))
	}
	return sys.GoString(sys.StatusName(int32(s)))
}

// An Error is a failure that the library reported. errors.Is compares it with a [Status].
type Error struct {
	Status  Status
	Message string // What, where, found and wanted.
}

func (e *Error) Error() string { return "fathom: " + e.Message + " (" + e.Status.Error() + ")" }

// Unwrap returns the status.
func (e *Error) Unwrap() error { return e.Status }

// ErrClosed is returned by the methods of an object after its Close.
var ErrClosed = errors.New("fathom: the object is closed")
