package fathom

import (
	"context"
	"iter"
	"runtime"
	"time"
	"unsafe"

	"fathom.dev/go/internal/sys"
)

// SessionOptions are the options of a session. Zero is the default everywhere.
type SessionOptions struct {
	Context uint64 // Most tokens in this session, at most the model's; 0: the model's.
}

// A Session is one conversation's place in the KV cache. It may be used from any goroutine, by one
// call at a time; another one, and any but Describe and Close while its stream runs, gets
// [ErrBusy].
type Session struct {
	*handle
	ptr    sys.Session
	manual bool
}

// NewSession opens a session.
func (m *Model) NewSession(options SessionOptions) (*Session, error) {
	native := &sys.SessionOptions{
		StructSize: uint32(unsafe.Sizeof(sys.SessionOptions{})),
		Context:    options.Context,
	}
	var ptr sys.Session
	err := m.try(quick, func(failure *sys.Error) int32 {
		return sys.SessionCreate(m.ptr, native, &ptr, failure)
	})
	if err != nil {
		return nil, err
	}
	s := &Session{ptr: ptr, manual: m.manual}
	s.handle = own(s, func() { quick.do(func() { sys.SessionRelease(ptr) }) })
	return s, nil
}

// Close gives the session back; a stream that still runs is cancelled. Closing twice does nothing.
func (s *Session) Close() error {
	s.close()
	return nil
}

// GenerateOptions are the options of one answer. Zero is the default everywhere.
type GenerateOptions struct {
	MaxTokens         uint64  // Most tokens to generate; 0: what the context leaves.
	Temperature       float32 // 0: greedy; else 0.01 to 100.
	TopK              int32   // Keep the k most likely tokens; 0: all.
	TopP              float32 // Keep the smallest set with this probability; 0 or 1: all.
	MinP              float32 // Drop tokens below this share of the best one's probability.
	RepetitionPenalty float32 // Divides positive logits of tokens seen; 0 or 1: none.
	PresencePenalty   float32 // Subtracted once from logits of generated tokens, -2 to 2.
	FrequencyPenalty  float32 // Subtracted for each occurrence, -2 to 2.
	Seed              uint64  // Randomness is a function of seed and position alone.
	Logprobs          int32   // 1 + the alternatives to each token's log-probability; 0: none.
	LogitBias         map[int32]float32
	Stop              []string      // Stop strings; the text before one is delivered.
	StopIDs           []int32       // Stop token ids beside the dialect's own.
	Deadline          time.Duration // Time from now after which the stream ends; 0: none.
	Append            bool          // Append the prompt to the transcript instead of replacing it.
	PromptOnly        bool          // Compute the prompt and stop.
	PromptLogprobs    bool          // Deliver the log-probabilities of the prompt, too.
	IgnoreEOS         bool          // Do not stop at the dialect's end of turn.
}

func (o *GenerateOptions) sys(pinner *runtime.Pinner) *sys.GenerateOptions {
	options := &sys.GenerateOptions{
		StructSize:        uint32(unsafe.Sizeof(sys.GenerateOptions{})),
		MaxTokens:         o.MaxTokens,
		Temperature:       o.Temperature,
		TopK:              o.TopK,
		TopP:              o.TopP,
		MinP:              o.MinP,
		RepetitionPenalty: o.RepetitionPenalty,
		PresencePenalty:   o.PresencePenalty,
		FrequencyPenalty:  o.FrequencyPenalty,
		Logprobs:          o.Logprobs,
		Seed:              o.Seed,
		Flags: flag(o.Append, sys.GenerateAppend) |
			flag(o.PromptOnly, sys.GeneratePromptOnly) |
			flag(o.PromptLogprobs, sys.GeneratePromptLogprobs) |
			flag(o.IgnoreEOS, sys.GenerateIgnoreEOS),
	}
	if o.Deadline != 0 {
		options.DeadlineNs = uint64(max(o.Deadline, 1)) // What is past is due at once.
	}
	var biases []sys.LogitBias
	for token, bias := range o.LogitBias {
		biases = append(biases, sys.LogitBias{Token: token, Bias: bias})
	}
	options.LogitBias, options.NLogitBias = pinSlice(pinner, biases)
	stops := make([]sys.Text, len(o.Stop))
	for i, stop := range o.Stop {
		stops[i].Data, stops[i].Bytes = pinText(pinner, stop)
	}
	options.Stop, options.NStop = pinSlice(pinner, stops)
	options.StopIDs, options.NStopIDs = pinSlice(pinner, o.StopIDs)
	return options
}

func flag(set bool, bit uint32) uint32 {
	if set {
		return bit
	}
	return 0
}

// Start asks for an answer and returns at once. The session's transcript becomes the prompt; what
// the two share at their beginning is not computed again. The stream must be closed.
func (s *Session) Start(prompt *Prompt, options GenerateOptions) (*Stream, error) {
	if err := prompt.acquire(); err != nil {
		return nil, err
	}
	defer prompt.release()
	var pinner runtime.Pinner
	defer pinner.Unpin()
	native := options.sys(&pinner)
	var ptr sys.Stream
	err := s.try(slow, func(failure *sys.Error) int32 {
		return sys.SessionGenerate(s.ptr, prompt.ptr, native, &ptr, failure)
	})
	if err != nil {
		return nil, err
	}
	return newStream(ptr, s.manual), nil
}

// Generate asks for an answer and ranges over its events, [EventDone] last:
//
//	for event, err := range session.Generate(ctx, prompt, fathom.GenerateOptions{}) {
//		if err != nil {
//			return err
//		}
//		fmt.Print(event.Text)
//	}
//
// After an error no event follows. When ctx ends, the answer is cancelled and the error is
// ctx.Err(); leaving the loop cancels it, too. Either way the session is free for the next answer
// when the loop is over. An answer that failed yields its last event together with the error.
func (s *Session) Generate(
	ctx context.Context, prompt *Prompt, options GenerateOptions,
) iter.Seq2[Event, error] {
	return func(yield func(Event, error) bool) {
		if err := ctx.Err(); err != nil {
			yield(Event{}, err)
			return
		}
		stream, err := s.Start(prompt, options)
		if err != nil {
			yield(Event{}, err)
			return
		}
		defer stream.Close()
		for {
			event, err := stream.Next(ctx)
			if err == nil && event.Type == EventDone {
				err = event.Err()
			}
			if !yield(event, err) || err != nil || event.Type == EventDone {
				return
			}
		}
	}
}

// Truncate cuts the transcript to its first tokens, to edit or repeat a turn.
func (s *Session) Truncate(tokens uint64) error {
	return s.try(quick, func(failure *sys.Error) int32 {
		return sys.SessionTruncate(s.ptr, tokens, failure)
	})
}

// SessionDescription holds facts about a session.
type SessionDescription struct {
	Running bool   // A stream runs.
	Tokens  uint64 // Tokens in the transcript.
	Context uint64 // Most tokens.
	KVBytes uint64 // KV cache that the session holds now.
}

// Describe reads facts about the session, also while its stream runs.
func (s *Session) Describe() (SessionDescription, error) {
	var d sys.SessionDescription
	d.StructSize = uint32(unsafe.Sizeof(d))
	err := s.try(quick, func(failure *sys.Error) int32 {
		return sys.SessionDescribe(s.ptr, &d, failure)
	})
	if err != nil {
		return SessionDescription{}, err
	}
	return SessionDescription{d.Running != 0, d.NTokens, d.Context, d.KVBytes}, nil
}
