package fathom_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"fathom.dev/go"
)

// processStatus reads a number of /proc/self/status: "Threads", "VmRSS" in KiB.
func processStatus(t testing.TB, name string) int {
	t.Helper()
	file := must(os.Open("/proc/self/status"))(t)
	defer file.Close()
	for lines := bufio.NewScanner(file); lines.Scan(); {
		if value, ok := strings.CutPrefix(lines.Text(), name+":"); ok {
			return must(strconv.Atoi(strings.Fields(value)[0]))(t)
		}
	}
	t.Fatal("/proc/self/status has no " + name)
	return 0
}

func descriptors(t testing.TB) int {
	t.Helper()
	return len(must(os.ReadDir("/proc/self/fd"))(t))
}

func TestManyStreams(t *testing.T) {
	// Breaks if streams that wait take threads. All of the process's threads are counted but the
	// engine's own, of which there are its executor and one worker.
	const nStreams, engineThreads = 5000, 2
	most := runtime.NumCPU() + 8 + engineThreads
	engine := newEngine(t, fathom.EngineOptions{Threads: 2, KVCacheBytes: 64 << 20})
	model := newModel(t, engine, fathom.ModelOptions{Context: 64})
	prompt := must(ask(t, model, fathom.ThinkingOff, "What is 1 + 1?").Render())(t)
	var open, together atomic.Int64
	var wg sync.WaitGroup
	gate := make(chan struct{})
	for range nStreams {
		wg.Go(func() {
			raw, err := fathom.NewRawPrompt()
			if err != nil {
				t.Error(err)
				return
			}
			defer raw.Close()
			if err := raw.AddTokens(prompt...); err != nil {
				t.Error(err)
			}
			session, err := model.NewSession(fathom.SessionOptions{})
			if err != nil {
				t.Error(err)
				return
			}
			defer session.Close()
			stream, err := session.Start(raw, fathom.GenerateOptions{MaxTokens: 4, IgnoreEOS: true})
			if err != nil {
				t.Error(err)
				return
			}
			defer stream.Close()
			if open.Add(1) == nStreams {
				close(gate)
			}
			var ids int
			for {
				event, err := stream.Next(context.Background())
				if err != nil {
					t.Error(err)
					return
				}
				if ids += len(event.IDs); event.Type == fathom.EventDone {
					break
				}
			}
			if ids != 4 {
				t.Errorf("%d ids, wanted 4", ids)
			}
			// Nobody leaves before all are there.
			<-gate
			together.Store(max(together.Load(), open.Load()))
		})
	}
	wg.Wait()
	// The runtime keeps the threads that it made, so this is the most there were.
	threads := processStatus(t, "Threads")
	t.Logf("%d streams at once, %d threads, %d of them the engine's", together.Load(), threads,
		engineThreads)
	if together.Load() != nStreams {
		t.Errorf("%d streams at once, wanted %d", together.Load(), nStreams)
	}
	if threads > most {
		t.Errorf("%d threads, wanted at most %d", threads, most)
	}
	eventually(t, "pages return", func() bool {
		s := must(engine.Stats())(t)
		return s.Sessions == 0 && s.KVPagesUsed == 0
	})
}

// cycle opens, generates, cancels and closes, in one of several ways to leave.
func cycle(model *fathom.Model, prompt *fathom.Prompt, way int) error {
	session, err := model.NewSession(fathom.SessionOptions{Context: 64})
	if err != nil {
		return err
	}
	defer session.Close()
	if way%2 == 0 {
		stream, err := session.Start(prompt, fathom.GenerateOptions{IgnoreEOS: true})
		if err != nil {
			return err
		}
		defer stream.Close()
		if _, err := stream.Next(context.Background()); err != nil {
			return err
		}
		stream.Cancel()
		return nil
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	for _, err := range session.Generate(ctx, prompt, fathom.GenerateOptions{IgnoreEOS: true}) {
		if way%4 == 1 {
			break
		}
		if err != nil && !errors.Is(err, context.Canceled) {
			return err
		}
		cancel()
	}
	return nil
}

func TestCyclesLeakNothing(t *testing.T) {
	// Breaks if anything stays behind: bytes of either heap, goroutines, descriptors, pages.
	nCycles := 10000
	if testing.Short() || raceEnabled {
		nCycles = 1000
	}
	engine := newEngine(t, fathom.EngineOptions{Threads: 1, KVCacheBytes: 8 << 20})
	model := newModel(t, engine, fathom.ModelOptions{})
	run := func(n int) (state [4]int64) {
		var wg sync.WaitGroup
		for worker := range 4 {
			prompt := ask(t, model, fathom.ThinkingOff, "What is 1 + 1?")
			wg.Go(func() {
				defer prompt.Close()
				for i := range n / 4 {
					if err := cycle(model, prompt, worker+i); err != nil {
						t.Error(err)
						return
					}
				}
			})
		}
		wg.Wait()
		eventually(t, "sessions return", func() bool {
			s := must(engine.Stats())(t)
			return s.Sessions == 0 && s.KVPagesUsed == 0 && s.Running == 0
		})
		runtime.GC()
		runtime.GC() // What the first one's cleanups let go of.
		var memory runtime.MemStats
		runtime.ReadMemStats(&memory)
		return [4]int64{nativeHeap(), int64(memory.HeapAlloc), int64(runtime.NumGoroutine()),
			int64(descriptors(t))}
	}
	before := run(nCycles / 5)
	after := run(nCycles)
	report := fmt.Sprintf("%d cycles: native heap %+d bytes, Go heap %+d bytes, goroutines %+d, "+
		"descriptors %+d", nCycles, after[0]-before[0], after[1]-before[1], after[2]-before[2],
		after[3]-before[3])
	t.Log(report)
	// A byte a cycle would be a leak of something; the runtime itself moves by a few pages.
	if after[0]-before[0] > 32<<10 || after[1]-before[1] > 256<<10 || after[2] > before[2] ||
		after[3] > before[3] {
		t.Error(report)
	}
}
