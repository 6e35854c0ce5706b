package main

import (
	"unsafe"

	"fathom.dev/go"
	"fathom.dev/go/internal/sys"
)

func stepEngineDevices() {
	step(26, "devices of engines")
	options := engineOptions()
	options.Device = 9
	engine, err := fathom.NewEngine(options)
	outcome("unknown device", engine, err)
	options.Device, options.PluginFolder = fathom.DeviceCUDA, folders
	engine, err = fathom.NewEngine(options)
	outcome("no plugin there", engine, err)
	options = engineOptions()
	options.MemoryBudget = 1 << 20
	plan, err := fathom.Estimate(modelFolder, options, fathom.ModelOptions{})
	outcome("estimate over budget", plan, err)
	line("planned all the same", "%d", truth(plan.TotalBytes > options.MemoryBudget))
}

// stepReleased is of the raw layer from the second release on: a closed object of the public API
// never reaches the library.
func stepReleased() {
	step(27, "released")
	e := newEngine()
	m := newModel(e)
	t := must(m.Tokenizer())
	p := question(t, sum, fathom.ThinkingOff)
	s := newSession(m)
	a := endless(s, p)
	engine, model, tokenizer := sys.Raw.Engine(e), sys.Raw.Model(m), sys.Raw.Tokenizer(t)
	prompt, session, stream := sys.Raw.Prompt(p), sys.Raw.Session(s), sys.Raw.Stream(a)
	for _, object := range []interface{ Close() error }{a, s, p, t, m, e} {
		ok(object.Close())
	}
	sys.StreamRelease(stream)
	sys.SessionRelease(session)
	sys.PromptRelease(prompt)
	sys.TokenizerRelease(tokenizer)
	sys.ModelRelease(model)
	sys.EngineRelease(engine)
	raw("engine", func(failure *sys.Error) int32 {
		stats := sys.EngineStats{StructSize: uint32(unsafe.Sizeof(sys.EngineStats{}))}
		return sys.EngineStatsRead(engine, &stats, failure)
	})
	raw("model", func(failure *sys.Error) int32 {
		d := sys.ModelDescription{StructSize: uint32(unsafe.Sizeof(sys.ModelDescription{}))}
		return sys.ModelDescribe(model, &d, failure)
	})
	raw("tokenizer", func(failure *sys.Error) int32 {
		d := sys.TokenizerDescription{StructSize: uint32(unsafe.Sizeof(sys.TokenizerDescription{}))}
		return sys.TokenizerDescribe(tokenizer, &d, failure)
	})
	raw("prompt", func(failure *sys.Error) int32 {
		var count uint64
		return sys.PromptRender(prompt, nil, 0, &count, failure)
	})
	raw("session", func(failure *sys.Error) int32 {
		d := sys.SessionDescription{StructSize: uint32(unsafe.Sizeof(sys.SessionDescription{}))}
		return sys.SessionDescribe(session, &d, failure)
	})
	raw("stream", func(failure *sys.Error) int32 {
		usage := sys.Usage{StructSize: uint32(unsafe.Sizeof(sys.Usage{}))}
		return sys.StreamUsage(stream, &usage, failure)
	})
	sys.StreamCancel(stream)
}
