package fathom_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"runtime"
	"strings"
	"testing"
	"time"

	"fathom.dev/go"
)

// A process has one library, so the test of how it is found runs this executable again.
func TestMain(m *testing.M) {
	if os.Getenv("FATHOM_TEST_CHILD") != "" {
		loadAndPrint()
		return
	}
	if err := fathom.Load(""); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(m.Run())
}

func modelFolder() string {
	if folder := os.Getenv("FATHOM_MODEL"); folder != "" {
		return folder
	}
	return "../../examples/demo-model/model"
}

func must[T any](value T, err error) func(testing.TB) T {
	return func(t testing.TB) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return value
	}
}

func newEngine(t testing.TB, options fathom.EngineOptions) *fathom.Engine {
	t.Helper()
	engine := must(fathom.NewEngine(options))(t)
	t.Cleanup(func() { engine.Close() })
	return engine
}

func newModel(t testing.TB, engine *fathom.Engine, options fathom.ModelOptions) *fathom.Model {
	t.Helper()
	model := must(engine.LoadModel(context.Background(), modelFolder(), options))(t)
	t.Cleanup(func() { model.Close() })
	return model
}

func demoModel(t testing.TB) (*fathom.Engine, *fathom.Model) {
	t.Helper()
	engine := newEngine(t, fathom.EngineOptions{Threads: 2, KVCacheBytes: 8 << 20})
	return engine, newModel(t, engine, fathom.ModelOptions{})
}

func newSession(t testing.TB, model *fathom.Model) *fathom.Session {
	t.Helper()
	session := must(model.NewSession(fathom.SessionOptions{}))(t)
	t.Cleanup(func() { session.Close() })
	return session
}

func ask(t testing.TB, model *fathom.Model, thinking fathom.Thinking, text string) *fathom.Prompt {
	t.Helper()
	prompt := must(model.NewPrompt(fathom.PromptOptions{Thinking: thinking},
		fathom.Message{Role: fathom.User, Text: text}))(t)
	t.Cleanup(func() { prompt.Close() })
	return prompt
}

const sum = "What is 4812 + 977?"

// eventually waits for a condition that another thread brings about.
func eventually(t testing.TB, what string, condition func() bool) {
	t.Helper()
	for deadline := time.Now().Add(30 * time.Second); !condition(); runtime.Gosched() {
		if time.Now().After(deadline) {
			t.Fatal("not within 30 s: " + what)
		}
	}
}

func TestGenerate(t *testing.T) {
	// Breaks if the events of an answer do not arrive whole, in order, once.
	_, model := demoModel(t)
	session := newSession(t, model)
	var reasoning, answer strings.Builder
	var last fathom.Event
	var next uint64
	for event, err := range session.Generate(t.Context(), ask(t, model, fathom.ThinkingOn, sum),
		fathom.GenerateOptions{}) {
		if err != nil {
			t.Fatal(err)
		}
		if event.Sequence != next {
			t.Fatalf("event %d came as number %d", event.Sequence, next)
		}
		next++
		switch event.Type {
		case fathom.EventReasoning:
			reasoning.WriteString(event.Text)
		case fathom.EventText:
			answer.WriteString(event.Text)
		}
		last = event
	}
	if last.Type != fathom.EventDone || last.Finish != fathom.FinishEndOfTurn {
		t.Errorf("last event: %+v", last)
	}
	if reasoning.Len() == 0 || !strings.Contains(answer.String(), "5789") {
		t.Errorf("reasoning %q, answer %q, wanted 5789 in it", reasoning.String(), answer.String())
	}
}

func TestUsageAndCache(t *testing.T) {
	// Breaks if counts are wrong or a session computes again what it has.
	_, model := demoModel(t)
	session := newSession(t, model)
	prompt := ask(t, model, fathom.ThinkingOff, sum)
	ids := must(prompt.Render())(t)
	for round, cached := range []uint64{0, uint64(len(ids)) - 1} {
		stream := must(session.Start(prompt, fathom.GenerateOptions{MaxTokens: 5, IgnoreEOS: true}))(t)
		var generated int
		for {
			event := must(stream.Next(t.Context()))(t)
			generated += len(event.IDs)
			if event.Type == fathom.EventDone {
				break
			}
		}
		usage := must(stream.Usage())(t)
		if !usage.Finished || usage.PromptCached != cached ||
			usage.PromptFresh+usage.PromptCached != uint64(len(ids)) ||
			usage.OutputTokens != 5 || generated != 5 {
			t.Errorf("round %d: %d ids, %d generated, usage %+v", round, len(ids), generated, usage)
		}
		if _, err := stream.Next(t.Context()); !errors.Is(err, fathom.ErrBadState) {
			t.Errorf("Next after the last event: %v", err)
		}
		stream.Close()
	}
}

func TestLogprobs(t *testing.T) {
	// Breaks if alternatives are not told from tokens.
	_, model := demoModel(t)
	session := newSession(t, model)
	var positions int
	for event, err := range session.Generate(t.Context(), ask(t, model, fathom.ThinkingOff, sum),
		fathom.GenerateOptions{MaxTokens: 3, Logprobs: 3, IgnoreEOS: true}) {
		if err != nil {
			t.Fatal(err)
		}
		for rest := event.Logprobs; len(rest) > 0; rest = rest[1+rest[0].Alternatives:] {
			positions++
			// Greedy: no alternative is likelier than the token.
			if rest[0].Alternatives != 2 || rest[1].Alternatives != 0 || rest[0].Logprob > 0 ||
				rest[0].Logprob < rest[1].Logprob || rest[1].Logprob < rest[2].Logprob {
				t.Errorf("logprobs %+v", rest)
			}
		}
	}
	if positions != 3 {
		t.Errorf("%d positions, wanted 3", positions)
	}
}

func TestContextCancels(t *testing.T) {
	// Breaks if a cancelled context leaves a stream running or a session taken.
	engine, model := demoModel(t)
	session := newSession(t, model)
	prompt := ask(t, model, fathom.ThinkingOff, sum)
	ctx, cancel := context.WithCancel(t.Context())
	var last error
	for _, err := range session.Generate(ctx, prompt, fathom.GenerateOptions{IgnoreEOS: true}) {
		last = err
		cancel()
	}
	if !errors.Is(last, context.Canceled) {
		t.Errorf("the loop ended with %v", last)
	}
	if d := must(session.Describe())(t); d.Running {
		t.Error("the session still runs")
	}
	eventually(t, "nothing runs", func() bool {
		s := must(engine.Stats())(t)
		return s.Running+s.Waiting == 0
	})
	ctx, cancel = context.WithTimeout(t.Context(), time.Nanosecond)
	defer cancel()
	<-ctx.Done()
	for _, err := range session.Generate(ctx, prompt, fathom.GenerateOptions{}) {
		if !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("with a context that is over: %v", err)
		}
	}
}

func TestBreakFreesSession(t *testing.T) {
	// Breaks if the session of a loop that was left is not free for the next loop.
	_, model := demoModel(t)
	session := newSession(t, model)
	prompt := ask(t, model, fathom.ThinkingOff, sum)
	for range 20 {
		for _, err := range session.Generate(t.Context(), prompt,
			fathom.GenerateOptions{IgnoreEOS: true}) {
			if err != nil {
				t.Fatal(err)
			}
			break
		}
	}
}

func TestPanicOfConsumer(t *testing.T) {
	// Breaks if a consumer that panics takes the engine with it or keeps pages of the KV cache.
	engine, model := demoModel(t)
	func() {
		session := must(model.NewSession(fathom.SessionOptions{}))(t)
		defer session.Close()
		defer func() {
			if recover() != "consumer" {
				t.Error("the panic was lost")
			}
		}()
		for event, err := range session.Generate(t.Context(),
			ask(t, model, fathom.ThinkingOff, sum), fathom.GenerateOptions{IgnoreEOS: true}) {
			if err != nil {
				t.Fatal(err)
			}
			if event.Type == fathom.EventText {
				eventually(t, "a running stream has pages", func() bool {
					return must(engine.Stats())(t).KVPagesUsed > 0
				})
				panic("consumer")
			}
		}
	}()
	eventually(t, "pages return", func() bool { return must(engine.Stats())(t).KVPagesUsed == 0 })
	session := newSession(t, model)
	for _, err := range session.Generate(t.Context(), ask(t, model, fathom.ThinkingOff, sum),
		fathom.GenerateOptions{MaxTokens: 3}) {
		if err != nil {
			t.Fatal(err)
		}
	}
}

func TestErrors(t *testing.T) {
	// Breaks if a status of the library does not arrive as the error to compare with.
	engine, model := demoModel(t)
	session := newSession(t, model)
	prompt := ask(t, model, fathom.ThinkingOff, sum)
	start := func(options fathom.GenerateOptions) error {
		stream, err := session.Start(prompt, options)
		if err == nil {
			stream.Close()
		}
		return err
	}
	_, noFolder := engine.LoadModel(t.Context(), "/no/such/folder", fathom.ModelOptions{})
	_, notManual := engine.Step(0)
	_, noKey := model.Metadata("no such key")
	_, tooSmall := fathom.NewEngine(fathom.EngineOptions{Threads: -1})
	_, noDialect := model.NewPrompt(fathom.PromptOptions{Dialect: "klingon"})
	empty := must(model.NewPrompt(fathom.PromptOptions{}))(t)
	notJSON := empty.AddOpenAI([]byte("[{"))
	mixed := prompt.AddTokens(1)
	small := must(model.NewSession(fathom.SessionOptions{Context: 4}))(t)
	_, full := small.Start(prompt, fathom.GenerateOptions{})
	small.Close()
	stream := must(session.Start(prompt, fathom.GenerateOptions{IgnoreEOS: true}))(t)
	busy := start(fathom.GenerateOptions{})
	stream.Close()
	for _, c := range []struct {
		name   string
		err    error
		wanted error
	}{
		{"a folder that is not there", noFolder, fathom.ErrIO},
		{"a step of a threaded engine", notManual, fathom.ErrBadState},
		{"an unknown key", noKey, fathom.ErrInvalidArgument},
		{"minus one thread", tooSmall, fathom.ErrInvalidArgument},
		{"an unknown dialect", noDialect, fathom.ErrUnsupported},
		{"half of a JSON text", notJSON, fathom.ErrFormat},
		{"tokens behind messages", mixed, fathom.ErrBadState},
		{"a prompt too long", full, fathom.ErrContextFull},
		{"a second stream", busy, fathom.ErrBusy},
		{"heat", start(fathom.GenerateOptions{Temperature: 101}), fathom.ErrInvalidArgument},
		{"a stop string of nothing", start(fathom.GenerateOptions{Stop: []string{""}}),
			fathom.ErrInvalidArgument},
		{"a bias for no token", start(fathom.GenerateOptions{
			LogitBias: map[int32]float32{1 << 30: 1}}), fathom.ErrInvalidArgument},
	} {
		var failure *fathom.Error
		if !errors.Is(c.err, c.wanted) || !errors.As(c.err, &failure) || failure.Message == "" {
			t.Errorf("%s: got %v, wanted %v", c.name, c.err, c.wanted)
		}
	}
	if err := start(fathom.GenerateOptions{Temperature: 100}); err != nil {
		t.Error(err)
	}
}

func TestFinishReasons(t *testing.T) {
	// Breaks if a caller cannot tell why an answer ended.
	_, model := demoModel(t)
	session := newSession(t, model)
	prompt := ask(t, model, fathom.ThinkingOff, sum)
	finish := func(options fathom.GenerateOptions) (reason fathom.FinishReason, text string) {
		options.IgnoreEOS = true
		for event, err := range session.Generate(t.Context(), prompt, options) {
			if err != nil {
				t.Fatal(err)
			}
			reason, text = event.Finish, text+event.Text
		}
		return reason, text
	}
	if reason, text := finish(fathom.GenerateOptions{MaxTokens: 8}); reason != fathom.FinishLength ||
		len(text) < 2 {
		t.Errorf("%v, %q", reason, text)
	} else if reason, cut := finish(fathom.GenerateOptions{Stop: []string{text[1:2]}}); reason !=
		fathom.FinishStop || !strings.HasPrefix(text, cut) || len(cut) > 1 {
		t.Errorf("stop: %v, %q of %q", reason, cut, text)
	}
	if reason, _ := finish(fathom.GenerateOptions{Deadline: -1}); reason != fathom.FinishDeadline {
		t.Errorf("deadline: %v", reason)
	}
	stream := must(session.Start(prompt, fathom.GenerateOptions{IgnoreEOS: true}))(t)
	defer stream.Close()
	stream.Cancel()
	for {
		event := must(stream.Next(t.Context()))(t)
		if event.Type == fathom.EventDone {
			if event.Finish != fathom.FinishCancelled || event.Err() != nil {
				t.Errorf("cancel: %+v", event)
			}
			break
		}
	}
}

func TestManualEngine(t *testing.T) {
	// Breaks if a host cannot lend its own thread.
	engine := newEngine(t, fathom.EngineOptions{Manual: true, Threads: 1})
	model := newModel(t, engine, fathom.ModelOptions{})
	session := newSession(t, model)
	stream := must(session.Start(ask(t, model, fathom.ThinkingOff, sum),
		fathom.GenerateOptions{MaxTokens: 4}))(t)
	defer stream.Close()
	for must(engine.Step(0))(t) {
	}
	for event := (fathom.Event{}); event.Type != fathom.EventDone; {
		event = must(stream.Next(t.Context()))(t)
	}
	if err := engine.Shutdown(t.Context()); err != nil {
		t.Error(err)
	}
	if _, err := session.Start(ask(t, model, 0, sum), fathom.GenerateOptions{}); !errors.Is(err,
		fathom.ErrShutdown) {
		t.Error(err)
	}
}

func TestHooks(t *testing.T) {
	// Breaks if hooks are not called, or if what they panic with passes the library's frames.
	var records []string
	engine := newEngine(t, fathom.EngineOptions{Log: func(_ fathom.LogLevel, text string) {
		records = append(records, text)
		panic("log")
	}})
	var done, total uint64
	model := must(engine.LoadModel(t.Context(), modelFolder(), fathom.ModelOptions{
		Progress: func(d, n uint64) { done, total = d, n }}))(t)
	defer model.Close()
	if done != total || total == 0 || len(records) == 0 {
		t.Errorf("read %d of %d bytes, log %q", done, total, records)
	}
	ctx, cancel := context.WithCancel(t.Context())
	_, err := engine.LoadModel(ctx, modelFolder(), fathom.ModelOptions{
		Progress: func(_, _ uint64) { cancel() }})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("loading with a context that ends: %v", err)
	}
	_, err = engine.LoadModel(t.Context(), modelFolder(), fathom.ModelOptions{
		Progress: func(_, _ uint64) { panic("progress") }})
	if !errors.Is(err, fathom.ErrCancelled) {
		t.Errorf("loading with a hook that panics: %v", err)
	}
	if s := must(engine.Stats())(t); s.Models != 1 {
		t.Errorf("%d models, wanted 1", s.Models)
	}
}

func TestFacts(t *testing.T) {
	// Breaks if a fact about a model or tokenizer is read from the wrong place.
	_, model := demoModel(t)
	d := must(model.Describe())(t)
	if d.Architecture != "deepseek_v3" || d.Layers != 4 || d.RoutedExperts != 16 ||
		d.VocabularyRows != 1408 || d.KVBytesPerToken == 0 {
		t.Errorf("%+v", d)
	}
	if value := must(model.Metadata("config.rope_theta"))(t); !strings.HasPrefix(value, "100") {
		t.Errorf("rope_theta %q", value)
	}
	plan := must(fathom.Estimate(modelFolder(), fathom.EngineOptions{}, fathom.ModelOptions{}))(t)
	if plan.WeightBytes != d.WeightBytes ||
		plan.TotalBytes != plan.WeightBytes+plan.WorkspaceBytes+plan.KVCacheBytes {
		t.Errorf("plan %+v, model %+v", plan, d)
	}
	tight, err := fathom.Estimate(modelFolder(), fathom.EngineOptions{MemoryBudget: 1 << 20},
		fathom.ModelOptions{})
	if !errors.Is(err, fathom.ErrBudget) || tight != plan {
		t.Errorf("over budget: %+v, %v", tight, err)
	}
	report := must(fathom.Inspect(modelFolder(), fathom.EngineOptions{}, fathom.ModelOptions{}))(t)
	if !bytes.Contains(report, []byte("deepseek_v3")) {
		t.Errorf("report %s", report)
	}
	tokenizer := must(fathom.OpenTokenizer(modelFolder()))(t)
	defer tokenizer.Close()
	ids := must(tokenizer.Encode("Grüße, 日本", fathom.EncodeBOS))(t)
	if facts := must(tokenizer.Describe())(t); facts.Tokens != 1380 || ids[0] != facts.BOS {
		t.Errorf("facts %+v, ids %v", facts, ids)
	}
	text := must(tokenizer.Decode(ids, fathom.DecodeSkipSpecial))(t)
	if string(text) != "Grüße, 日本" {
		t.Errorf("there and back: %q", text)
	}
	if ids := must(tokenizer.Encode("", 0))(t); len(ids) != 0 {
		t.Errorf("nothing encodes to %v", ids)
	}
	devices := must(fathom.Devices())(t)
	if len(devices) == 0 || devices[0].Kind != fathom.DeviceCPU || devices[0].Name == "" {
		t.Errorf("devices %+v", devices)
	}
	if !must(fathom.Supports("backend.cpu"))(t) || must(fathom.Supports("backend.abacus"))(t) {
		t.Error("features are mixed up")
	}
	if info := must(fathom.BuildInfo())(t); !strings.HasPrefix(info, "{") {
		t.Errorf("build info %q", info)
	}
}
