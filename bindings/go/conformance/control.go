package main

import (
	"context"
	"time"
	"unsafe"

	"fathom.dev/go"
	"fathom.dev/go/internal/sys"
)

// firstTokens reads to the first event with tokens and returns how many there were.
func firstTokens(stream *fathom.Stream) int {
	for {
		event := next(stream)
		require(event.Type != fathom.EventDone, "a token before the end")
		if len(event.IDs) > 0 {
			return len(event.IDs)
		}
	}
}

func isRunning(session *fathom.Session) bool { return must(session.Describe()).Running }

func waitUntilFree(session *fathom.Session) {
	for isRunning(session) {
		time.Sleep(time.Millisecond)
	}
}

func stepCancel() {
	step(18, "cancel")
	prompt := question(world.tokenizer, sum, fathom.ThinkingOn)
	defer prompt.Close()
	session := newSession(world.model)
	stream := endless(session, prompt)
	var handles [2]int64 // The public API waits by itself.
	for i := range handles {
		require(sys.StreamNotifyHandle(sys.Raw.Stream(stream), &handles[i], nil) == sys.OK,
			"a descriptor")
	}
	line("notify handle", "%d", truth(handles[0] >= 0 && handles[0] == handles[1]))
	seen := firstTokens(stream)
	stream.Cancel()
	stream.Cancel()
	logEnd("cancelled", stream, seen)
	stream.Close()
	endless(session, prompt).Close()
	waitUntilFree(session)
	asked(session, prompt, fathom.GenerateOptions{MaxTokens: 1}, func(stream *fathom.Stream) {
		logEnd("released, then again", stream, 0)
	})
	stream = endless(session, prompt)
	session.Close()
	logEnd("session released", stream, 0)
	stream.Close()
}

func stepDeadline() {
	step(19, "deadline")
	prompt := question(world.tokenizer, sum, fathom.ThinkingOn)
	defer prompt.Close()
	session := newSession(world.model)
	defer session.Close()
	asked(session, prompt, fathom.GenerateOptions{IgnoreEOS: true, Deadline: 1}, logEvents)
	asked(session, prompt, fathom.GenerateOptions{IgnoreEOS: true,
		Deadline: 100 * time.Millisecond}, func(stream *fathom.Stream) {
		waitUntilFree(session) // Nobody reads, so the answer cannot reach its end before.
		logEnd("while it waits for its reader", stream, 0)
	})
}

func stepBusy() {
	step(20, "busy")
	prompt := question(world.tokenizer, sum, fathom.ThinkingOn)
	defer prompt.Close()
	session := newSession(world.model)
	defer session.Close()
	stream := endless(session, prompt)
	line("running", "%d", truth(isRunning(session)))
	other, err := session.Start(prompt, fathom.GenerateOptions{})
	outcome("generate", other, err)
	outcome("truncate", nil, session.Truncate(0))
	stream.Cancel()
	logEnd("cancelled", stream, 0)
	stream.Close()
	line("running", "%d", truth(isRunning(session)))
	outcome("truncate too far", nil, session.Truncate(1000000))
}

func stepGenerateErrors() {
	step(21, "generate errors")
	prompt := question(world.tokenizer, sum, fathom.ThinkingOn)
	defer prompt.Close()
	session := newSession(world.model)
	defer session.Close()
	// The public API has a field for each flag and no others.
	raw("flags", func(failure *sys.Error) int32 {
		options := sys.GenerateOptions{Flags: 0x80000000}
		options.StructSize = uint32(unsafe.Sizeof(options))
		var stream sys.Stream
		status := sys.SessionGenerate(sys.Raw.Session(session), sys.Raw.Prompt(prompt), &options,
			&stream, failure)
		require(stream == 0, "no stream")
		return status
	})
	fails := func(name string, s *fathom.Session, p *fathom.Prompt, o fathom.GenerateOptions) {
		stream, err := s.Start(p, o)
		outcome(name, stream, err)
		require(stream == nil, "no stream")
	}
	for _, c := range []struct {
		name    string
		options fathom.GenerateOptions
	}{
		{"temperature", fathom.GenerateOptions{Temperature: -1}},
		{"top_k", fathom.GenerateOptions{TopK: -1}},
		{"top_p", fathom.GenerateOptions{TopP: 1.5}},
		{"min_p", fathom.GenerateOptions{MinP: -0.5}},
		{"repetition_penalty", fathom.GenerateOptions{RepetitionPenalty: -1}},
		{"presence_penalty", fathom.GenerateOptions{PresencePenalty: 3}},
		{"frequency_penalty", fathom.GenerateOptions{FrequencyPenalty: -3}},
		{"logprobs", fathom.GenerateOptions{Logprobs: 22}},
		{"stop string", fathom.GenerateOptions{Stop: []string{""}}},
		{"stop id", fathom.GenerateOptions{StopIDs: []int32{1000000}}},
	} {
		fails(c.name, session, prompt, c.options)
	}
	empty := must(world.tokenizer.NewPrompt(fathom.PromptOptions{}))
	defer empty.Close()
	fails("empty prompt", session, empty, fathom.GenerateOptions{})
	small := must(world.model.NewSession(fathom.SessionOptions{Context: 8}))
	defer small.Close()
	fails("context full", small, prompt, fathom.GenerateOptions{})
	none, err := world.model.NewSession(fathom.SessionOptions{Context: 1 << 30})
	outcome("context of a session", none, err)
	options := engineOptions()
	options.KVCacheBytes = 64 << 10 // A page and a bit.
	engine := must(fathom.NewEngine(options))
	defer engine.Close()
	model := newModel(engine)
	defer model.Close()
	few := newSession(model)
	defer few.Close()
	fails("no room in the KV cache", few, prompt, fathom.GenerateOptions{MaxTokens: 900})
}

func logStats(engine *fathom.Engine) {
	s := must(engine.Stats())
	line("stats", "models=%d sessions=%d waiting=%d running=%d pages=%d/%d steps=%d prefill=%d "+
		"decode=%d device=%s", s.Models, s.Sessions, s.Waiting, s.Running, s.KVPagesUsed, s.KVPages,
		s.Steps, s.PrefillTokens, s.DecodeTokens, nameOf(s.DeviceStatus))
	line("memory and time are counted", "%d", truth(s.MemoryBytes > 0 &&
		(s.Steps == 0) == (s.StepTime == 0) && s.BackendTime <= s.StepTime))
}

// waitAny is of the raw layer: the public API waits for all streams by itself.
func waitAny(engine *fathom.Engine, streams []sys.Stream, failure *sys.Error) (int, int32) {
	ready := uint32(9)
	status := sys.EngineWaitAny(sys.Raw.Engine(engine), &streams[0], uint32(len(streams)), 0,
		&ready, failure)
	return int(ready), status
}

func stepManual() {
	step(22, "manual engine")
	options := engineOptions()
	options.Manual = true
	engine, threaded := must(fathom.NewEngine(options)), newEngine()
	defer engine.Close()
	defer threaded.Close()
	model := newModel(engine)
	defer model.Close()
	sessions := []*fathom.Session{newSession(model), newSession(model)}
	prompt := must(model.NewPrompt(fathom.PromptOptions{Thinking: fathom.ThinkingOn},
		fathom.Message{Role: fathom.User, Text: sum}))
	defer prompt.Close()
	var streams []*fathom.Stream
	var handles []sys.Stream
	for _, session := range sessions {
		stream := must(session.Start(prompt, fathom.GenerateOptions{MaxTokens: 4}))
		defer session.Close()
		defer stream.Close()
		streams, handles = append(streams, stream), append(handles, sys.Raw.Stream(stream))
	}
	logStats(engine)
	raw("poll", func(failure *sys.Error) int32 { // The public API waits as long as its context.
		var event sys.Event
		event.StructSize = uint32(unsafe.Sizeof(event))
		return sys.StreamNext(handles[0], 0, &event, failure)
	})
	raw("wait", func(failure *sys.Error) int32 {
		_, status := waitAny(engine, handles, failure)
		return status
	})
	steps := 1
	for must(engine.Step(0)) {
		steps++
	}
	line("steps", "%d", steps)
	var seen [2]bool
	for range 100 {
		ready, status := waitAny(engine, handles, nil)
		require(status == sys.OK && ready < 2, "a stream with an event")
		seen[ready] = true
	}
	line("both come up", "%d", truth(seen[0] && seen[1]))
	logEvents(streams[0])
	logEvents(streams[1])
	logStats(engine)
	more, err := threaded.Step(0)
	outcome("step of a threaded engine", more, err)
	raw("wait for a stream of another engine", func(failure *sys.Error) int32 {
		_, status := waitAny(threaded, handles, failure)
		return status
	})
}

func stepShutdown() {
	step(23, "shutdown")
	engine := newEngine()
	defer engine.Close()
	model := newModel(engine)
	defer model.Close()
	session := newSession(model)
	defer session.Close()
	prompt := must(model.NewPrompt(fathom.PromptOptions{Thinking: fathom.ThinkingOn},
		fathom.Message{Role: fathom.User, Text: sum}))
	defer prompt.Close()
	stream := endless(session, prompt)
	over, end := context.WithCancel(context.Background())
	end()
	outcome("with a running stream", nil, engine.Shutdown(over))
	logEnd("its stream", stream, 0)
	stream.Close()
	outcome("again", nil, engine.Shutdown(context.Background()))
	late, err := session.Start(prompt, fathom.GenerateOptions{})
	outcome("generate", late, err)
	other, err := model.NewSession(fathom.SessionOptions{})
	outcome("session", other, err)
	another, err := engine.LoadModel(context.Background(), modelFolder, fathom.ModelOptions{})
	outcome("load", another, err)
	idle := newEngine()
	defer idle.Close()
	outcome("idle", nil, idle.Shutdown(context.Background()))
}

func stepParentsFirst() {
	step(24, "parents released first")
	engine := newEngine()
	model := newModel(engine)
	session := newSession(model)
	tokenizer := must(model.Tokenizer())
	engine.Close()
	model.Close()
	prompt := question(tokenizer, sum, fathom.ThinkingOff)
	tokenizer.Close()
	stream := must(session.Start(prompt, fathom.GenerateOptions{MaxTokens: 2}))
	prompt.Close()
	logEvents(stream)
	session.Close()
	logUsage(stream)
	stream.Close()
}

// stepNothing is of the raw layer: a closed object of the public API never reaches the library.
func stepNothing() {
	step(25, "nothing")
	type failure = *sys.Error
	for _, c := range []struct {
		name string
		call func(failure) int32
	}{
		{"fathom_devices_query", func(e failure) int32 { return sys.DevicesQuery(nil, nil, e) }},
		{"fathom_engine_create", func(e failure) int32 { return sys.EngineCreate(nil, nil, e) }},
		{"fathom_engine_shutdown", func(e failure) int32 { return sys.EngineShutdown(0, 0, e) }},
		{"fathom_engine_step", func(e failure) int32 { return sys.EngineStep(0, 0, nil, e) }},
		{"fathom_engine_wait_any", func(e failure) int32 {
			return sys.EngineWaitAny(0, nil, 0, 0, nil, e)
		}},
		{"fathom_engine_stats_read", func(e failure) int32 {
			return sys.EngineStatsRead(0, nil, e)
		}},
		{"fathom_model_estimate", func(e failure) int32 {
			return sys.ModelEstimate(nil, nil, nil, nil, e)
		}},
		{"fathom_model_load", func(e failure) int32 { return sys.ModelLoad(0, nil, nil, nil, e) }},
		{"fathom_model_describe", func(e failure) int32 { return sys.ModelDescribe(0, nil, e) }},
		{"fathom_model_metadata_get", func(e failure) int32 {
			return sys.ModelMetadataGet(0, nil, nil, nil, e)
		}},
		{"fathom_model_tokenizer", func(e failure) int32 { return sys.ModelTokenizer(0, nil, e) }},
		{"fathom_model_inspect", func(e failure) int32 {
			return sys.ModelInspect(nil, nil, nil, nil, e)
		}},
		{"fathom_tokenizer_open", func(e failure) int32 { return sys.TokenizerOpen(nil, nil, e) }},
		{"fathom_tokenizer_encode", func(e failure) int32 {
			return sys.TokenizerEncode(0, nil, 0, 0, nil, 0, nil, e)
		}},
		{"fathom_tokenizer_decode", func(e failure) int32 {
			return sys.TokenizerDecode(0, nil, 0, 0, nil, 0, nil, e)
		}},
		{"fathom_tokenizer_describe", func(e failure) int32 {
			return sys.TokenizerDescribe(0, nil, e)
		}},
		{"fathom_prompt_create", func(e failure) int32 { return sys.PromptCreate(0, nil, nil, e) }},
		{"fathom_prompt_add_message", func(e failure) int32 {
			return sys.PromptAddMessage(0, nil, e)
		}},
		{"fathom_prompt_add_tokens", func(e failure) int32 {
			return sys.PromptAddTokens(0, nil, 0, e)
		}},
		{"fathom_prompt_add_openai_json", func(e failure) int32 {
			return sys.PromptAddOpenAIJSON(0, nil, 0, e)
		}},
		{"fathom_prompt_render", func(e failure) int32 {
			return sys.PromptRender(0, nil, 0, nil, e)
		}},
		{"fathom_session_create", func(e failure) int32 {
			return sys.SessionCreate(0, nil, nil, e)
		}},
		{"fathom_session_generate", func(e failure) int32 {
			return sys.SessionGenerate(0, 0, nil, nil, e)
		}},
		{"fathom_session_truncate", func(e failure) int32 { return sys.SessionTruncate(0, 0, e) }},
		{"fathom_session_describe", func(e failure) int32 {
			return sys.SessionDescribe(0, nil, e)
		}},
		{"fathom_stream_next", func(e failure) int32 { return sys.StreamNext(0, 0, nil, e) }},
		{"fathom_stream_usage", func(e failure) int32 { return sys.StreamUsage(0, nil, e) }},
		{"fathom_stream_notify_handle", func(e failure) int32 {
			return sys.StreamNotifyHandle(0, nil, e)
		}},
	} {
		raw(c.name, c.call)
	}
	sys.StreamCancel(0)
	sys.StreamRelease(0)
	sys.SessionRelease(0)
	sys.PromptRelease(0)
	sys.TokenizerRelease(0)
	sys.ModelRelease(0)
	sys.EngineRelease(0)
	sys.BufferRelease(0)
	sys.ErrorRelease(0)
	line("error of nothing", "%s", nameOf(fathom.Status(sys.ErrorCode(0))))
	line("message of nothing", "%d bytes", len(sys.GoString(sys.ErrorMessage(0))))
	line("buffer of nothing", "%d", truth(sys.BufferData(0, nil) == 0))
	line("feature of nothing", "%d", sys.FeatureSupported(nil))
}
