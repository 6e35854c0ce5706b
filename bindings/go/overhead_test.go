package fathom_test

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"fathom.dev/go"
)

// drain returns the median nanoseconds that taking an event from a full queue costs.
func drain(
	t testing.TB, engine *fathom.Engine, session *fathom.Session, prompt *fathom.Prompt,
) float64 {
	rounds := make([]float64, 100)
	for round := range rounds {
		stream := must(session.Start(prompt,
			fathom.GenerateOptions{MaxTokens: 40, IgnoreEOS: true}))(t)
		for must(engine.Step(-1))(t) {
		}
		events := 0
		start := time.Now()
		for event := (fathom.Event{}); event.Type != fathom.EventDone; events++ {
			event = must(stream.Next(t.Context()))(t)
		}
		rounds[round] = float64(time.Since(start).Nanoseconds()) / float64(events)
		stream.Close()
	}
	slices.Sort(rounds)
	return rounds[len(rounds)/2]
}

func TestTimePerEvent(t *testing.T) {
	// Breaks if an event costs a microsecond more in Go than in C.
	if raceEnabled {
		t.Skip("the race detector slows down Go alone")
	}
	const most = 1000
	library := must(filepath.Abs(os.Getenv(fathom.LibraryVariable)))(t)
	program := filepath.Join(t.TempDir(), "drain")
	compile := exec.Command("cc", "-O2", "-I../../include", "testdata/drain.c", library,
		"-Wl,-rpath,"+filepath.Dir(library), "-o", program)
	if output, err := compile.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, output)
	}
	engine := newEngine(t, fathom.EngineOptions{Manual: true, Threads: 1})
	model := newModel(t, engine, fathom.ModelOptions{})
	session, prompt := newSession(t, model), ask(t, model, fathom.ThinkingAuto, sum)
	var inC, inGo []float64
	for range 3 {
		output := must(exec.Command(program, modelFolder(), sum).Output())(t)
		inC = append(inC, must(strconv.ParseFloat(strings.TrimSpace(string(output)), 64))(t))
		inGo = append(inGo, drain(t, engine, session, prompt))
	}
	// The least of the medians: what else the machine does can only add to it.
	more := slices.Min(inGo) - slices.Min(inC)
	t.Logf("time per event: %.0f ns in Go, %.0f ns in C, difference %.0f ns", slices.Min(inGo),
		slices.Min(inC), more)
	if more > most {
		t.Errorf("an event costs %.0f ns more than in C, wanted at most %d", more, most)
	}
}

func TestBytesPerStream(t *testing.T) {
	// Breaks if an open stream with a goroutine waiting for it takes more than its few KiB.
	const nStreams, most = 1000, 8 << 10
	engine := newEngine(t, fathom.EngineOptions{Manual: true, Threads: 1})
	model := newModel(t, engine, fathom.ModelOptions{Context: 64})
	prompt := ask(t, model, fathom.ThinkingOff, "What is 1 + 1?")
	bytes := func() (inGo, native int64) {
		runtime.GC()
		var memory runtime.MemStats
		runtime.ReadMemStats(&memory)
		return int64(memory.HeapAlloc + memory.StackInuse), nativeHeap()
	}
	goBefore, nativeBefore := bytes()
	ctx, cancel := context.WithCancel(t.Context())
	before := descriptors(t)
	var wg sync.WaitGroup
	for range nStreams {
		session := must(model.NewSession(fathom.SessionOptions{}))(t)
		stream := must(session.Start(prompt, fathom.GenerateOptions{}))(t)
		wg.Go(func() {
			stream.Next(ctx)
			stream.Close()
			session.Close()
		})
	}
	eventually(t, "all wait", func() bool { return descriptors(t)-before >= nStreams })
	goAfter, nativeAfter := bytes()
	cancel()
	wg.Wait()
	inGo, native := (goAfter-goBefore)/nStreams, (nativeAfter-nativeBefore)/nStreams
	t.Logf("an open stream and its session: %d bytes of Go's with the goroutine that waits, "+
		"%d bytes of the library's", inGo, native)
	if inGo > most {
		t.Errorf("%d bytes, wanted at most %d", inGo, most)
	}
}
