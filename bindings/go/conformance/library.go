package main

import (
	"bytes"
	"context"
	"fmt"
	"path/filepath"
	"strings"
	"unsafe"

	"fathom.dev/go"
	"fathom.dev/go/internal/sys"
)

func stepLibrary() {
	step(1, "library")
	const wanted = sys.HeaderABIVersion
	line("abi major", "%d", sys.ABIVersion()>>16)
	line("minor is the header's or later", "%d", truth(sys.ABIVersion()&0xffff >= wanted&0xffff))
	info := must(fathom.BuildInfo())
	line("build info names its version", "%d",
		truth(strings.HasPrefix(info, "{") && strings.Contains(info, `"version":"`)))
	for _, name := range []string{"arch.deepseek_v3", "backend.cpu", "dialect.deepseek-v3.1",
		"tokenizer.json", "arch.llama"} {
		line(name, "%d", truth(must(fathom.Supports(name))))
	}
	for status := fathom.Status(-1); status <= fathom.ErrInternal+1; status++ {
		line(fmt.Sprintf("status %d", int32(status)), "%s", nameOf(status))
	}
}

func stepStructs() {
	step(2, "structs")
	var room [1024]byte
	for i, s := range []struct {
		name string
		size uintptr
	}{
		{"engine_options", unsafe.Sizeof(sys.EngineOptions{})},
		{"engine_stats", unsafe.Sizeof(sys.EngineStats{})},
		{"device_info", unsafe.Sizeof(sys.DeviceInfo{})},
		{"source", unsafe.Sizeof(sys.Source{})},
		{"model_options", unsafe.Sizeof(sys.ModelOptions{})},
		{"model_description", unsafe.Sizeof(sys.ModelDescription{})},
		{"memory_plan", unsafe.Sizeof(sys.MemoryPlan{})},
		{"tokenizer_description", unsafe.Sizeof(sys.TokenizerDescription{})},
		{"prompt_options", unsafe.Sizeof(sys.PromptOptions{})},
		{"message", unsafe.Sizeof(sys.Message{})},
		{"session_options", unsafe.Sizeof(sys.SessionOptions{})},
		{"session_description", unsafe.Sizeof(sys.SessionDescription{})},
		{"generate_options", unsafe.Sizeof(sys.GenerateOptions{})},
		{"event", unsafe.Sizeof(sys.Event{})},
		{"usage", unsafe.Sizeof(sys.Usage{})},
	} {
		for at := range room {
			room[at] = 0xff
		}
		status := sys.StructInit(unsafe.Pointer(&room), uint32(i)+sys.StructEngineOptions,
			uint32(s.size))
		line(s.name, "%s", nameOf(fathom.Status(status)))
		size := *(*uint32)(unsafe.Pointer(&room))
		rest := bytes.Trim(room[unsafe.Sizeof(size):s.size], "\x00")
		line("size", "%d, rest zero: %d", size, truth(len(rest) == 0))
		require(room[s.size] == 0xff, "nothing written behind the struct")
	}
	init := func(at unsafe.Pointer, id, size uint32) string {
		return nameOf(fathom.Status(sys.StructInit(at, id, size)))
	}
	line("unknown id", "%s", init(unsafe.Pointer(&room), 0, 64))
	line("too small", "%s", init(unsafe.Pointer(&room), sys.StructUsage, 8))
	line("no struct", "%s", init(nil, sys.StructUsage, 64))
}

func stepDevices() {
	step(3, "devices")
	cpus, whole := 0, true
	for _, d := range must(fathom.Devices()) {
		cpus += truth(d.Kind == fathom.DeviceCPU)
		whole = whole && d.Name != "" && d.MemoryTotal > 0 && d.MemoryAvailable <= d.MemoryTotal &&
			d.Processors > 0
	}
	line("cpus", "%d", cpus)
	line("each has a name, memory and processors", "%d", truth(whole))
}

func stepTokenizer() {
	step(4, "tokenizer")
	tokenizer := must(fathom.OpenTokenizer(modelFolder))
	defer tokenizer.Close()
	d := must(tokenizer.Describe())
	line("tokens", "%d bos=%d eos=%d pad=%d adds_bos=%d", d.Tokens, d.BOS, d.EOS, d.Pad,
		truth(d.AddsBOS))
	line("fingerprint", "%016x", d.Fingerprint)
	line("dialect", "%s", d.Dialect)
	encoded := func(name, text string, flags fathom.EncodeFlags) []int32 {
		ids := must(tokenizer.Encode(text, flags))
		line(name, "%s", listed(ids))
		return ids
	}
	decoded := func(name string, ids []int32, flags fathom.DecodeFlags) {
		line(name, "%s", quoted(string(must(tokenizer.Decode(ids, flags)))))
	}
	decoded("decoded", encoded("text", "What is 12 + 34?\nnaïve \"quoted\"", 0), 0)
	encoded("empty", "", 0)
	const marked = "<｜User｜>Hi"
	encoded("marker as text", marked, 0)
	ids := encoded("marker as token", marked, fathom.EncodeSpecial|fathom.EncodeBOS)
	decoded("decoded", ids, 0)
	decoded("without special tokens", ids, fathom.DecodeSkipSpecial)
}

func stepTokenizerErrors() {
	step(5, "tokenizer errors")
	tokenizer := must(fathom.OpenTokenizer(modelFolder))
	defer tokenizer.Close()
	_, err := tokenizer.Decode([]int32{5, 1000000}, 0)
	line("message names the id", "%d",
		truth(err != nil && strings.Contains(err.Error(), "1000000")))
	outcome("id out of range", nil, err)
	ids, err := tokenizer.Encode("a b", 0x80000000)
	outcome("unknown flag", ids, err)
	// The public API asks for the room first.
	var count uint64
	text := []byte("What is this?")
	raw("no room", func(failure *sys.Error) int32 {
		var room int32
		return sys.TokenizerEncode(sys.Raw.Tokenizer(tokenizer), &text[0], uint64(len(text)), 0,
			&room, 1, &count, failure)
	})
	line("wanted room", "%d", count)
	none, err := fathom.OpenTokenizer("/nowhere/at/all")
	outcome("no folder", none, err)
	none, err = fathom.OpenTokenizer("")
	outcome("no path", none, err)
}

func stepEstimate() {
	step(6, "estimate and inspect")
	options := fathom.ModelOptions{Context: 256}
	p := must(fathom.Estimate(modelFolder, engineOptions(), options))
	line("plan", "kv_type=%d context=%d kv_cache=%d", p.KV, p.Context, p.KVCacheBytes)
	line("a token", "%d bytes, with all heads %d", p.KVBytesPerToken, p.MHABytesPerToken)
	line("parameters", "%d, active %d", p.Parameters, p.ActiveParameters)
	line("file bytes", "%d", p.FileBytes)
	line("adds up", "%d", truth(p.TotalBytes == p.WeightBytes+p.WorkspaceBytes+p.KVCacheBytes))
	json := must(fathom.Inspect(modelFolder, engineOptions(), options))
	line("inspected", "%d",
		truth(bytes.HasPrefix(json, []byte("{")) && bytes.Contains(json, []byte(`"deepseek_v3"`))))
}

func stepLoadErrors() {
	step(7, "load errors")
	engine := newEngine()
	defer engine.Close()
	load := func(name string, ctx context.Context, e *fathom.Engine, folder string,
		options fathom.ModelOptions) {
		model, err := e.LoadModel(ctx, folder, options)
		outcome(name, model, err)
		require(model == nil, "no model")
	}
	ctx := context.Background()
	load("no folder", ctx, engine, "/nowhere/at/all", fathom.ModelOptions{})
	load("no path", ctx, engine, "", fathom.ModelOptions{})
	load("broken config", ctx, engine, filepath.Join(folders, "broken"), fathom.ModelOptions{})
	load("another architecture", ctx, engine, filepath.Join(folders, "unsupported"),
		fathom.ModelOptions{})
	ends, end := context.WithCancel(ctx)
	load("cancelled", ends, engine, modelFolder,
		fathom.ModelOptions{Progress: func(_, _ uint64) { end() }})
	load("context too long", ctx, engine, modelFolder, fathom.ModelOptions{Context: 1 << 30})
	load("unknown dialect", ctx, engine, modelFolder, fathom.ModelOptions{Dialect: "nonsense"})
	tight := engineOptions()
	tight.MemoryBudget = 1 << 20
	small := must(fathom.NewEngine(tight))
	defer small.Close()
	load("over budget", ctx, small, modelFolder, fathom.ModelOptions{})
}

func stepEngineErrors() {
	step(8, "engine errors")
	for _, c := range []struct {
		name    string
		threads int32
	}{{"too many threads", 1025}, {"negative threads", -1}} {
		engine, err := fathom.NewEngine(fathom.EngineOptions{Threads: c.threads})
		outcome(c.name, engine, err)
	}
	// The public API has no other modes and no other sizes.
	var newer struct {
		known sys.EngineOptions
		later uint64
	}
	newer.later = 1
	for _, c := range []struct {
		name string
		mode int32
		size uintptr
	}{
		{"unknown mode", 2, unsafe.Sizeof(newer.known)},
		{"struct too small", 0, 4},
		{"field of a newer library", 0, unsafe.Sizeof(newer)},
	} {
		newer.known = sys.EngineOptions{StructSize: uint32(c.size), Mode: c.mode}
		raw(c.name, func(failure *sys.Error) int32 {
			var engine sys.Engine
			status := sys.EngineCreate(&newer.known, &engine, failure)
			require(engine == 0, "no engine")
			return status
		})
	}
}
