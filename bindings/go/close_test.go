package fathom_test

import (
	"context"
	"errors"
	"runtime"
	"sync"
	"testing"

	"fathom.dev/go"
)

func TestClosed(t *testing.T) {
	// Breaks if closing twice, in any order, or using what is closed is more than an error.
	engine := must(fathom.NewEngine(fathom.EngineOptions{Threads: 1}))(t)
	model := must(engine.LoadModel(t.Context(), modelFolder(), fathom.ModelOptions{}))(t)
	tokenizer := must(model.Tokenizer())(t)
	prompt := must(tokenizer.NewPrompt(fathom.PromptOptions{},
		fathom.Message{Role: fathom.User, Text: sum}))(t)
	session := must(model.NewSession(fathom.SessionOptions{}))(t)
	stream := must(session.Start(prompt, fathom.GenerateOptions{}))(t)
	for range 2 {
		for _, closer := range []interface{ Close() error }{engine, model, tokenizer, prompt,
			session, stream} {
			if err := closer.Close(); err != nil {
				t.Error(err)
			}
		}
	}
	stream.Cancel()
	outcome := func(_ any, err error) error { return err }
	for i, err := range []error{
		outcome(engine.Stats()),
		engine.Shutdown(t.Context()),
		outcome(engine.LoadModel(t.Context(), "", fathom.ModelOptions{})),
		outcome(model.Describe()),
		outcome(model.NewSession(fathom.SessionOptions{})),
		outcome(tokenizer.Encode("a", 0)),
		outcome(tokenizer.Describe()),
		prompt.Add(fathom.Message{Role: fathom.User}),
		outcome(session.Start(prompt, fathom.GenerateOptions{})),
		session.Truncate(0),
		outcome(stream.Next(t.Context())),
		outcome(stream.Usage()),
	} {
		if !errors.Is(err, fathom.ErrClosed) {
			t.Errorf("call %d: %v", i, err)
		}
	}
}

func TestCloseFromElsewhere(t *testing.T) {
	// Breaks if closing and cancelling race with a goroutine that reads. Run it with -race.
	_, model := demoModel(t)
	for range 50 {
		session := must(model.NewSession(fathom.SessionOptions{}))(t)
		stream := must(session.Start(ask(t, model, fathom.ThinkingOff, sum),
			fathom.GenerateOptions{IgnoreEOS: true}))(t)
		first := make(chan struct{})
		var wg sync.WaitGroup
		wg.Go(func() {
			for n := 0; ; n++ {
				_, err := stream.Next(t.Context())
				if n == 0 {
					close(first)
				}
				if err != nil {
					if !errors.Is(err, fathom.ErrClosed) && !errors.Is(err, fathom.ErrBadState) {
						t.Error(err)
					}
					return
				}
			}
		})
		<-first
		for range 2 {
			wg.Go(func() { stream.Cancel() })
			wg.Go(func() { stream.Usage() })
			wg.Go(func() { stream.Close() })
			wg.Go(func() { session.Describe() })
			wg.Go(func() { session.Close() })
		}
		wg.Wait()
	}
}

func TestOneReader(t *testing.T) {
	// Breaks if a second reader is let in or a waiting one cannot be called off.
	engine := newEngine(t, fathom.EngineOptions{Manual: true})
	model := newModel(t, engine, fathom.ModelOptions{})
	session := newSession(t, model)
	stream := must(session.Start(ask(t, model, fathom.ThinkingOff, sum), fathom.GenerateOptions{}))(t)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() {
		for {
			_, err := stream.Next(ctx)
			if !errors.Is(err, fathom.ErrBusy) { // By what asks below whether it is busy.
				done <- err
				return
			}
		}
	}()
	eventually(t, "the reader waits", func() bool {
		over, cancel := context.WithCancel(t.Context())
		cancel()
		_, err := stream.Next(over)
		return errors.Is(err, fathom.ErrBusy)
	})
	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	go func() { _, err := stream.Next(t.Context()); done <- err }()
	stream.Close()
	if err := <-done; !errors.Is(err, fathom.ErrClosed) {
		t.Error(err)
	}
}

func TestShutdown(t *testing.T) {
	// Breaks if an engine does not end when its context does, or a stream is not told.
	engine, model := demoModel(t)
	session := newSession(t, model)
	// Nobody reads it, so it cannot end by itself.
	stream := must(session.Start(ask(t, model, fathom.ThinkingOff, sum),
		fathom.GenerateOptions{IgnoreEOS: true}))(t)
	defer stream.Close()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- engine.Shutdown(ctx) }()
	eventually(t, "new work is refused", func() bool {
		refused, err := model.NewSession(fathom.SessionOptions{})
		if err == nil {
			refused.Close()
		}
		return errors.Is(err, fathom.ErrShutdown)
	})
	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) || !errors.Is(err, fathom.ErrTimeout) {
		t.Error(err)
	}
	var last fathom.Event
	for last.Type != fathom.EventDone {
		last = must(stream.Next(t.Context()))(t)
	}
	if last.Finish != fathom.FinishCancelled {
		t.Errorf("%+v", last)
	}
}

func TestCollected(t *testing.T) {
	// Breaks if objects that a caller forgot to close are never given back.
	engine, model := demoModel(t)
	for range 10 {
		session := must(model.NewSession(fathom.SessionOptions{}))(t)
		prompt := must(model.NewPrompt(fathom.PromptOptions{},
			fathom.Message{Role: fathom.User, Text: sum}))(t)
		stream := must(session.Start(prompt, fathom.GenerateOptions{IgnoreEOS: true}))(t)
		must(stream.Next(t.Context()))(t)
	}
	eventually(t, "sessions return", func() bool {
		runtime.GC()
		return must(engine.Stats())(t).Sessions == 0
	})
}
