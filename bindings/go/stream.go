package fathom

import (
	"context"
	"runtime"
	"sync"
	"time"
	"unsafe"

	"fathom.dev/go/internal/sys"
)

// An EventType says what an event tells.
type EventType int32

// The types of events.
const (
	EventProgress  EventType = sys.EventProgress  // Prompt tokens were computed.
	EventReasoning EventType = sys.EventReasoning // A piece of the model's reasoning.
	EventText      EventType = sys.EventText      // A piece of the answer.
	EventLogprobs  EventType = sys.EventLogprobs  // Of prompt tokens, or of the event before.
	EventDone      EventType = sys.EventDone      // The last event.
)

// A FinishReason says why a stream ended.
type FinishReason int32

// The reasons to end.
const (
	FinishEndOfTurn FinishReason = sys.FinishEndOfTurn // The model ended its turn.
	FinishLength    FinishReason = sys.FinishLength    // MaxTokens or the context is used up.
	FinishStop      FinishReason = sys.FinishStop      // A stop string or stop id appeared.
	FinishCancelled FinishReason = sys.FinishCancelled // Stream.Cancel or a close.
	FinishDeadline  FinishReason = sys.FinishDeadline  // GenerateOptions.Deadline passed.
	FinishError     FinishReason = sys.FinishError     // Something failed; Event.Err says what.
)

// A Logprob is a token with its natural log-probability, before temperature and penalties.
type Logprob struct {
	Token        int32
	Position     int32 // Position in the transcript.
	Logprob      float32
	Alternatives int32 // How many entries that follow are alternatives to this token.
}

// The library's entries are handed out as they are.
var _ = [1]struct{}{}[unsafe.Sizeof(Logprob{})-unsafe.Sizeof(sys.Logprob{})]

// An Event is one step of an answer.
type Event struct {
	Type        EventType
	Finish      FinishReason // EventDone: why.
	Status      Status       // EventDone: 0 or what failed.
	Sequence    uint64       // 0, 1, 2, ... within the stream.
	Text        string       // Whole UTF-8. EventDone: the message of what failed.
	IDs         []int32      // Tokens generated since the event before.
	Logprobs    []Logprob    // EventLogprobs: each token, then its alternatives.
	TokensDone  uint64       // EventProgress: prompt tokens computed.
	TokensTotal uint64       // EventProgress: prompt tokens to compute.
}

// Err returns what failed if the event is the last one of an answer that failed, else nil.
func (e *Event) Err() error {
	if e.Finish != FinishError {
		return nil
	}
	return &Error{e.Status, e.Text}
}

// Usage holds exact counts of one stream, none of which includes another.
type Usage struct {
	Finished        bool   // The counts are final.
	PromptFresh     uint64 // Prompt tokens computed.
	PromptCached    uint64 // Prompt tokens taken from the session's KV cache.
	ReasoningTokens uint64 // Generated tokens that were reasoning.
	OutputTokens    uint64 // Other generated tokens, end of turn included.
	Queue           time.Duration
	Prefill         time.Duration
	Decode          time.Duration
}

// A Stream is one answer on its way. Next may be called by one goroutine at a time; all else from
// any. Waiting for an event takes no thread.
type Stream struct {
	*handle
	ptr     sys.Stream
	manual  bool
	closing chan struct{}
	once    sync.Once
	waiter  *waiter // Shared with the handle, which must not refer to the stream.

	reading  sync.Mutex // Held by Next and Close; guards the rest.
	event    sys.Event
	finished bool
}

func newStream(ptr sys.Stream, manual bool) *Stream {
	w := &waiter{ready: make(chan struct{}, 1)}
	s := &Stream{ptr: ptr, manual: manual, closing: make(chan struct{}), waiter: w}
	s.event.StructSize = uint32(unsafe.Sizeof(s.event))
	s.handle = own(s, func() {
		w.stop()
		quick.do(func() { sys.StreamRelease(ptr) })
	})
	return s
}

// Next waits for the next event. If ctx ends first it returns ctx.Err(), and the stream goes on.
// After [EventDone] it returns [ErrBadState].
func (s *Stream) Next(ctx context.Context) (Event, error) {
	if !s.reading.TryLock() {
		if s.closed() {
			return Event{}, ErrClosed
		}
		return Event{}, &Error{ErrBusy, "stream: another goroutine is waiting for its next event"}
	}
	defer s.reading.Unlock()
	for {
		if s.closed() {
			return Event{}, ErrClosed
		}
		if err := ctx.Err(); err != nil {
			return Event{}, err
		}
		ready, err := s.poll()
		if err != nil {
			return Event{}, err
		}
		if ready {
			return s.take(), nil
		}
		if err := s.waiter.start(s.ptr); err != nil {
			return Event{}, err
		}
		select {
		case <-s.waiter.ready:
		case <-ctx.Done():
		case <-s.closing:
		}
	}
}

func (s *Stream) closed() bool {
	select {
	case <-s.closing:
		return true
	default:
		return false
	}
}

// poll takes the next event if there is one. The caller holds s.reading, which keeps Close away.
func (s *Stream) poll() (ready bool, err error) {
	// Without room for an error the library makes none, and having no event is no error here.
	quick.enter()
	status := sys.StreamNext(s.ptr, 0, &s.event, nil)
	quick.leave()
	if status == sys.Timeout {
		return false, nil
	}
	if status != sys.OK {
		err = quick.try(func(failure *sys.Error) int32 {
			return sys.StreamNext(s.ptr, 0, &s.event, failure)
		})
	}
	s.finished = err == nil && s.event.Type == sys.EventDone
	runtime.KeepAlive(s)
	return err == nil, err
}

// take returns the event that poll found in memory of Go's.
func (s *Stream) take() Event {
	e := &s.event
	return Event{
		Type:        EventType(e.Type),
		Finish:      FinishReason(e.FinishReason),
		Status:      Status(e.Status),
		Sequence:    e.Sequence,
		Text:        string(sys.Slice[byte](e.Text, e.TextBytes)),
		IDs:         append([]int32(nil), sys.Slice[int32](e.IDs, e.NIDs)...),
		Logprobs:    append([]Logprob(nil), sys.Slice[Logprob](e.Logprobs, e.NLogprobs)...),
		TokensDone:  e.TokensDone,
		TokensTotal: e.TokensTotal,
	}
}

// Cancel asks the stream to end within one step. [EventDone] follows with [FinishCancelled].
func (s *Stream) Cancel() {
	if s.acquire() == nil {
		defer s.release()
		sys.StreamCancel(s.ptr)
	}
}

// Usage reads the stream's counts. They are final once EventDone was produced.
func (s *Stream) Usage() (Usage, error) {
	var u sys.Usage
	u.StructSize = uint32(unsafe.Sizeof(u))
	err := s.try(quick, func(failure *sys.Error) int32 { return sys.StreamUsage(s.ptr, &u, failure) })
	if err != nil {
		return Usage{}, err
	}
	return Usage{
		Finished:        u.Finished != 0,
		PromptFresh:     u.PromptFresh,
		PromptCached:    u.PromptCached,
		ReasoningTokens: u.ReasoningTokens,
		OutputTokens:    u.OutputTokens,
		Queue:           time.Duration(u.QueueNs),
		Prefill:         time.Duration(u.PrefillNs),
		Decode:          time.Duration(u.DecodeNs),
	}, nil
}

// Close cancels the stream if it still runs, waits until the engine has let go of it, which takes
// one step, and gives it back. Then its session is free for the next answer. A Next under way
// returns [ErrClosed]. Closing twice does nothing.
func (s *Stream) Close() error {
	s.once.Do(func() {
		close(s.closing)
		s.Cancel()
		s.reading.Lock()
		defer s.reading.Unlock()
		// A manual engine lets go at once, and may not be stepped again.
		for !s.manual && !s.finished {
			ready, err := s.poll()
			if err != nil || !ready && s.waiter.start(s.ptr) != nil {
				break
			}
			if !ready {
				<-s.waiter.ready
			}
		}
		s.close()
	})
	return nil
}
