package fathom

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"time"
	"unsafe"

	"fathom.dev/go/internal/sys"
)

// A CPULevel is an instruction set that an engine may be held to.
type CPULevel int32

// The instruction sets. CPUAuto, the default, is the best that the processor has.
const (
	CPUAuto       CPULevel = sys.CPUAuto
	CPUScalar     CPULevel = sys.CPUScalar
	CPUAVX2       CPULevel = sys.CPUAVX2
	CPUAVX512     CPULevel = sys.CPUAVX512
	CPUAVX512BF16 CPULevel = sys.CPUAVX512BF16
)

// A LogLevel says how much a log record matters.
type LogLevel int32

// The log levels.
const (
	LogWarning LogLevel = sys.LogWarning // Something that a person should look at.
	LogInfo    LogLevel = sys.LogInfo    // Something that happens once in a while.
)

// EngineOptions are the options of an engine. Zero is the default everywhere.
type EngineOptions struct {
	Manual        bool     // Steps run only inside Engine.Step, on the caller's thread.
	Threads       int32    // Computing threads, 1 to 1024; 0: one a usable processor.
	CPU           CPULevel // A level that the processor lacks is an error.
	Deterministic bool     // The same tokens whatever else runs, in any batch and thread count.
	MaxBatchRows  int32    // Most tokens in one step; 0: 512.
	MaxSequences  int32    // Most sequences in one step; 0: 64.
	MemoryBudget  uint64   // Most bytes for weights, KV cache and workspace; 0: no limit.
	KVCacheBytes  uint64   // Bytes for the KV cache of each model; 0: one session's context.

	Device       DeviceKind // 0: the CPU. What a device lacks is an error; no other takes its place.
	DeviceIndex  int32      // Which of several devices of that kind, from 0.
	DriverFolder string     // Folder of the device driver's library; empty: the system's.
	PluginFolder string     // Folder of the device's plugin; empty: beside the shared library.

	// Log receives log records until the engine is closed, of several goroutines at once if several
	// load models. It must not call this package. What it panics with is lost.
	Log func(level LogLevel, text string)
}

func (o *EngineOptions) sys(pinner *runtime.Pinner, log uintptr) *sys.EngineOptions {
	options := &sys.EngineOptions{
		StructSize:    uint32(unsafe.Sizeof(sys.EngineOptions{})),
		Mode:          sys.ModeThreaded,
		NThreads:      o.Threads,
		CPULevel:      int32(o.CPU),
		MaxBatchRows:  o.MaxBatchRows,
		MaxSequences:  o.MaxSequences,
		MemoryBudget:  o.MemoryBudget,
		KVCacheBytes:  o.KVCacheBytes,
		Deterministic: truth(o.Deterministic),
		Device:        int32(o.Device),
		DeviceIndex:   o.DeviceIndex,
	}
	options.DriverFolder, options.DriverFolderBytes = pinText(pinner, o.DriverFolder)
	options.PluginFolder, options.PluginFolderBytes = pinText(pinner, o.PluginFolder)
	if o.Manual {
		options.Mode = sys.ModeManual
	}
	if log != 0 {
		options.Log, options.LogUserData = sys.LogFunction(), log
	}
	return options
}

func truth(b bool) int32 {
	if b {
		return 1
	}
	return 0
}

// An Engine owns threads, memory and the schedule. Most programs have one. All methods may be
// called from any goroutine.
type Engine struct {
	*handle
	ptr    sys.Engine
	manual bool
}

// NewEngine creates an engine. It loads the shared library if [Load] has not.
func NewEngine(options EngineOptions) (*Engine, error) {
	if err := Load(""); err != nil {
		return nil, err
	}
	var log uintptr
	if hook := options.Log; hook != nil {
		log = sys.RegisterLog(func(level int32, text string) { hook(LogLevel(level), text) })
	}
	var pinner runtime.Pinner
	defer pinner.Unpin()
	native := options.sys(&pinner, log)
	var ptr sys.Engine
	err := unbounded.try(func(failure *sys.Error) int32 {
		return sys.EngineCreate(native, &ptr, failure)
	})
	if err != nil {
		sys.Unregister(log)
		return nil, err
	}
	e := &Engine{ptr: ptr, manual: options.Manual}
	e.handle = own(e, func() {
		sys.Unregister(log)
		sys.EngineRelease(ptr)
	})
	return e, nil
}

// Close gives the engine back. It ends when its models, sessions and streams are closed too.
// Closing twice does nothing.
func (e *Engine) Close() error {
	e.close()
	return nil
}

// Shutdown refuses new work and waits until running streams have finished. When ctx ends it cancels
// those that still run; if there were any, it returns an error that is ctx.Err() and [ErrTimeout].
// No thread of the engine runs after it.
func (e *Engine) Shutdown(ctx context.Context) error {
	shutdown := func(timeout uint64) error {
		return e.try(unbounded, func(failure *sys.Error) int32 {
			return sys.EngineShutdown(e.ptr, timeout, failure)
		})
	}
	// Of several callers the one that waits least decides.
	defer context.AfterFunc(ctx, func() { shutdown(0) })()
	err := shutdown(forever)
	if errors.Is(err, ErrTimeout) && ctx.Err() != nil {
		return fmt.Errorf("fathom: shutdown: %w (%w)", ctx.Err(), err)
	}
	return err
}

const forever = 1<<64 - 1

// Step runs steps of a manual engine on the caller's thread until budget has passed, at least one;
// with a negative budget until no work is left. It reports whether work is left.
func (e *Engine) Step(budget time.Duration) (more bool, err error) {
	nanoseconds := uint64(forever)
	if budget >= 0 {
		nanoseconds = uint64(budget)
	}
	var left int32
	err = e.try(unbounded, func(failure *sys.Error) int32 {
		return sys.EngineStep(e.ptr, nanoseconds, &left, failure)
	})
	return left != 0, err
}

// EngineStats is a snapshot of an engine's counters.
type EngineStats struct {
	DeviceStatus  Status // 0, or the failure that made the engine unusable.
	Models        uint64 // Loaded models.
	Sessions      uint64 // Open sessions.
	Waiting       uint64 // Streams waiting for their first step.
	Running       uint64 // Streams with a place in the batch.
	KVPages       uint64 // KV pages of all models, 64 tokens each.
	KVPagesUsed   uint64 // Of these, pages that hold tokens.
	Steps         uint64 // Steps since creation.
	PrefillTokens uint64 // Prompt tokens computed.
	DecodeTokens  uint64 // Tokens generated.
	MemoryBytes   uint64 // Weights, KV cache and workspace now.
	StepTime      time.Duration
	BackendTime   time.Duration // Of StepTime, time inside the backend's kernels.
}

// Stats reads the counters. It is cheap.
func (e *Engine) Stats() (EngineStats, error) {
	var s sys.EngineStats
	s.StructSize = uint32(unsafe.Sizeof(s))
	err := e.try(quick, func(failure *sys.Error) int32 {
		return sys.EngineStatsRead(e.ptr, &s, failure)
	})
	if err != nil {
		return EngineStats{}, err
	}
	return EngineStats{
		DeviceStatus:  Status(s.DeviceStatus),
		Models:        s.NModels,
		Sessions:      s.NSessions,
		Waiting:       s.NWaiting,
		Running:       s.NRunning,
		KVPages:       s.KVPages,
		KVPagesUsed:   s.KVPagesUsed,
		Steps:         s.NSteps,
		PrefillTokens: s.PrefillTokens,
		DecodeTokens:  s.DecodeTokens,
		MemoryBytes:   s.MemoryBytes,
		StepTime:      time.Duration(s.StepNsTotal),
		BackendTime:   time.Duration(s.BackendNsTotal),
	}, nil
}
