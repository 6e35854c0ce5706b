package main

import (
	"context"
	"slices"
	"strings"

	"fathom.dev/go"
)

func stepLoad() {
	step(9, "load")
	var named bool
	options := engineOptions()
	options.Log = func(level fathom.LogLevel, text string) {
		named = named || level == fathom.LogInfo && strings.HasPrefix(text, "model loaded")
	}
	rises := true
	var done, total uint64
	world.engine = must(fathom.NewEngine(options))
	world.model = must(world.engine.LoadModel(context.Background(), modelFolder,
		fathom.ModelOptions{Progress: func(d, n uint64) {
			rises = rises && d >= done && d <= n
			done, total = d, n
		}}))
	line("progress rises to the end", "%d", truth(rises && total > 0 && done == total))
	line("the log tells", "%d", truth(named))
	d := must(world.model.Describe())
	line("architecture", "%s dialect=%s", d.Architecture, d.Dialect)
	line("layers", "%d experts=%d active=%d hidden=%d vocabulary=%d heads=%d kv_type=%d", d.Layers,
		d.RoutedExperts, d.ActiveExperts, d.HiddenSize, d.VocabularyRows, d.Heads, d.KV)
	line("context", "%d parameters=%d active=%d kv_bytes=%d", d.Context, d.Parameters,
		d.ActiveParameters, d.KVBytesPerToken)
	line("fingerprint", "%016x", d.Fingerprint)
	for _, key := range []string{"architecture", "config.vocab_size", "config.rope_theta"} {
		line(key, "%s", quoted(must(world.model.Metadata(key))))
	}
	value, err := world.model.Metadata("no such key")
	outcome("no such key", value, err)
	world.tokenizer = must(world.model.Tokenizer())
}

func logRendered(name string, prompt *fathom.Prompt) []int32 {
	ids := must(prompt.Render())
	line(name, "%s", quoted(string(must(world.tokenizer.Decode(ids, 0)))))
	return ids
}

func stepPrompts() {
	step(10, "prompts")
	for _, c := range []struct {
		name    string
		options fathom.PromptOptions
	}{
		{"auto", fathom.PromptOptions{}},
		{"thinking", fathom.PromptOptions{Thinking: fathom.ThinkingOn}},
		{"not thinking", fathom.PromptOptions{Thinking: fathom.ThinkingOff}},
		{"not opened", fathom.PromptOptions{NoGeneration: true}},
	} {
		prompt := must(world.tokenizer.NewPrompt(c.options,
			fathom.Message{Role: fathom.User, Text: sum}))
		logRendered(c.name, prompt)
		prompt.Close()
	}
	turns := must(world.tokenizer.NewPrompt(fathom.PromptOptions{},
		fathom.Message{Role: fathom.System, Text: "Be brief."},
		fathom.Message{Role: fathom.User, Text: "1 + 1?"},
		fathom.Message{Role: fathom.Assistant, Text: "2", Reasoning: "one more"},
		fathom.Message{Role: fathom.User, Text: "And <｜User｜>?"}))
	defer turns.Close()
	ids := logRendered("turns", turns)
	line("ids", "%s", listed(ids))
	whole := must(world.tokenizer.NewPrompt(fathom.PromptOptions{}))
	defer whole.Close()
	ok(whole.AddOpenAI([]byte(`[{"role":"system","content":"Be brief."},` +
		`{"role":"user","content":"1 + 1?"},` +
		`{"role":"assistant","reasoning_content":"one more","content":"2"},` +
		`{"role":"user","content":"And <｜User｜>?"}]`)))
	line("the same from JSON", "%d", truth(slices.Equal(ids, must(whole.Render()))))
	tokens := must(world.tokenizer.NewPrompt(fathom.PromptOptions{}))
	defer tokens.Close()
	ok(tokens.AddTokens(ids...))
	line("the same from tokens", "%d", truth(slices.Equal(ids, must(tokens.Render()))))
}

func stepPromptErrors() {
	step(11, "prompt errors")
	newPrompt := func() *fathom.Prompt {
		return must(world.tokenizer.NewPrompt(fathom.PromptOptions{}))
	}
	prompt := newPrompt()
	outcome("not JSON", nil, prompt.AddOpenAI([]byte(`[{"role":`)))
	prompt.Close()
	prompt = newPrompt()
	outcome("no role", nil, prompt.AddOpenAI([]byte(`[{"content":"x"}]`)))
	prompt.Close()
	prompt = newPrompt()
	ok(prompt.AddOpenAI([]byte(`[{"role":"user","content":null}]`)))
	ids, err := prompt.Render()
	outcome("cannot be rendered", ids, err)
	prompt.Close()
	none, err := world.tokenizer.NewPrompt(fathom.PromptOptions{Dialect: "nonsense"})
	outcome("unknown dialect", none, err)
	prompt = newPrompt()
	outcome("unknown role", nil, prompt.Add(fathom.Message{Role: 9}))
	outcome("negative token", nil, prompt.AddTokens(5, -1))
	ok(prompt.AddTokens(5))
	outcome("message behind tokens", nil, prompt.Add(fathom.Message{Role: fathom.User}))
	prompt.Close()
	prompt = question(world.tokenizer, sum, fathom.ThinkingOff)
	outcome("tokens behind messages", nil, prompt.AddTokens(5))
	prompt.Close()
}

// asked starts an answer, lets log write about it and closes it.
func asked(session *fathom.Session, prompt *fathom.Prompt, options fathom.GenerateOptions,
	log func(*fathom.Stream)) {
	stream := must(session.Start(prompt, options))
	defer stream.Close()
	log(stream)
}

func answer(name string) func(*fathom.Stream) {
	return func(stream *fathom.Stream) { logAnswer(name, stream) }
}

func answerAndUsage(name string) func(*fathom.Stream) {
	return func(stream *fathom.Stream) {
		logAnswer(name, stream)
		logUsage(stream)
	}
}

func eventsAndUsage(stream *fathom.Stream) {
	logEvents(stream)
	logUsage(stream)
}

func stepChat() {
	step(12, "chat")
	thinking := question(world.tokenizer, sum, fathom.ThinkingOn)
	defer thinking.Close()
	direct := question(world.tokenizer, order, fathom.ThinkingOff)
	defer direct.Close()
	session := newSession(world.model)
	defer session.Close()
	asked(session, thinking, fathom.GenerateOptions{}, func(stream *fathom.Stream) {
		eventsAndUsage(stream)
		event, err := stream.Next(context.Background())
		outcome("behind the end", event, err)
	})
	logSession("session", session)
	asked(session, direct, fathom.GenerateOptions{}, eventsAndUsage)
	logSession("session", session)
}

func stepTurns() {
	step(13, "turns")
	prompt := question(world.tokenizer, sum, fathom.ThinkingOn)
	defer prompt.Close()
	session := newSession(world.model)
	defer session.Close()
	asked(session, prompt, fathom.GenerateOptions{}, answer("first"))
	ok(prompt.Add(fathom.Message{Role: fathom.Assistant, Text: "46"}))
	ok(prompt.Add(fathom.Message{Role: fathom.User, Text: "What is 5 + 46?"}))
	asked(session, prompt, fathom.GenerateOptions{}, answerAndUsage("second"))
	ok(session.Truncate(7))
	logSession("cut", session)
	asked(session, prompt, fathom.GenerateOptions{}, answerAndUsage("again"))
}

func stepStops() {
	step(14, "stops")
	prompt := question(world.tokenizer, order, fathom.ThinkingOff)
	defer prompt.Close()
	session := newSession(world.model)
	defer session.Close()
	asked(session, prompt, fathom.GenerateOptions{Stop: []string{"never said", "customer"}},
		logEvents)
	ids := must(world.tokenizer.Encode("order", 0))
	line("stop id", "%s", listed(ids))
	asked(session, prompt, fathom.GenerateOptions{StopIDs: ids}, logEvents)
	asked(session, prompt, fathom.GenerateOptions{MaxTokens: 3}, eventsAndUsage)
}

func stepLogprobs() {
	step(15, "logprobs")
	prompt := question(world.tokenizer, sum, fathom.ThinkingOn)
	defer prompt.Close()
	session := newSession(world.model)
	defer session.Close()
	asked(session, prompt, fathom.GenerateOptions{Logprobs: 3, MaxTokens: 3}, logEvents)
	ok(session.Truncate(0))
	asked(session, prompt,
		fathom.GenerateOptions{Logprobs: 1, PromptLogprobs: true, PromptOnly: true}, eventsAndUsage)
}

func stepSampling() {
	step(16, "sampling")
	prompt := question(world.tokenizer, "Hello!", fathom.ThinkingOff)
	defer prompt.Close()
	session := newSession(world.model)
	defer session.Close()
	options := fathom.GenerateOptions{MaxTokens: 12, Temperature: 4, TopK: 40, TopP: 0.99,
		MinP: 0.001, RepetitionPenalty: 1.1, PresencePenalty: 0.5, FrequencyPenalty: 0.25, Seed: 7}
	asked(session, prompt, options, answer("seed 7"))
	asked(session, prompt, options, answer("seed 7"))
	options.Seed = 8
	asked(session, prompt, options, answer("seed 8"))
	var greedy int32
	for event, err := range session.Generate(context.Background(), prompt,
		fathom.GenerateOptions{MaxTokens: 1}) {
		ok(err)
		if len(event.IDs) > 0 {
			greedy = event.IDs[0]
		}
	}
	line("greedy", "%d", greedy)
	asked(session, prompt, fathom.GenerateOptions{MaxTokens: 1,
		LogitBias: map[int32]float32{greedy: -10000}}, logEvents)
}

func stepAppend() {
	step(17, "prompt only, then append")
	prompt := question(world.tokenizer, order, fathom.ThinkingOff)
	defer prompt.Close()
	session := newSession(world.model)
	defer session.Close()
	asked(session, prompt, fathom.GenerateOptions{PromptOnly: true}, logEvents)
	logSession("session", session)
	more := must(world.tokenizer.NewPrompt(fathom.PromptOptions{}))
	defer more.Close()
	ok(more.AddTokens(must(world.tokenizer.Encode(`{"type":"order",`, 0))...))
	asked(session, more, fathom.GenerateOptions{Append: true}, answerAndUsage("continued"))
}
