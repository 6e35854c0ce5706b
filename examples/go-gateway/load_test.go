package main

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
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
	"unsafe"

	"github.com/ebitengine/purego"
)

// load is what clients saw.
type load struct {
	mu                         sync.Mutex
	gaps                       []time.Duration // Between two chunks of text of an answer.
	whole, dropped, unexpected int
	firstUnexpected            error
}

const loadTokens = 64

// ask asks for one sum and reads the answer, or so many of its chunks and hangs up.
func (l *load) ask(base string, random *rand.Rand) {
	text, _ := json.Marshal(body{"model": demoName, "stream": true, "temperature": 0,
		"max_tokens": loadTokens, "thinking": body{"type": "enabled"}, "messages": []body{{
			"role": "user", "content": fmt.Sprintf("What is %d + %d?", 1000+random.IntN(9000),
				100+random.IntN(900))}}})
	chunksLeft := 2 * loadTokens
	if random.IntN(3) == 0 {
		chunksLeft = random.IntN(loadTokens)
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	gaps, whole, err := readChunks(ctx, base, text, chunksLeft)
	l.mu.Lock()
	defer l.mu.Unlock()
	l.gaps = append(l.gaps, gaps...)
	switch {
	case err != nil:
		l.unexpected++
		l.firstUnexpected = err
	case whole:
		l.whole++
	default:
		l.dropped++
	}
}

var content = []byte(`content":"`) // Of an answer or its reasoning.

func readChunks(
	ctx context.Context, base string, text []byte, chunksLeft int,
) (gaps []time.Duration, whole bool, err error) {
	request, err := http.NewRequestWithContext(ctx, "POST", base+"/v1/chat/completions",
		bytes.NewReader(text))
	if err != nil {
		return nil, false, err
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return nil, false, err
	}
	defer response.Body.Close()
	if response.StatusCode != 200 {
		all, _ := io.ReadAll(response.Body)
		return nil, false, fmt.Errorf("status %d: %s", response.StatusCode, all)
	}
	var last time.Time
	lines := bufio.NewReader(response.Body)
	for ; chunksLeft > 0; chunksLeft-- {
		line, err := lines.ReadSlice('\n')
		if err == nil {
			_, err = lines.Discard(1)
		}
		if err != nil {
			return gaps, false, err
		}
		if bytes.Equal(line, []byte("data: [DONE]\n")) {
			return gaps, true, nil
		}
		if now := time.Now(); bytes.Contains(line, content) {
			if !last.IsZero() {
				gaps = append(gaps, now.Sub(last))
			}
			last = now
		}
	}
	return gaps, false, nil
}

func descriptors(t testing.TB) int {
	t.Helper()
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(entries)
}

// nativeHeap returns the bytes that malloc has given out.
func nativeHeap(t testing.TB) int64 {
	t.Helper()
	libc, err := purego.Dlopen("libc.so.6", purego.RTLD_NOW)
	if err != nil {
		t.Fatal(err)
	}
	mallinfo2, err := purego.Dlsym(libc, "mallinfo2")
	if err != nil {
		t.Fatal(err)
	}
	var info [10]uint64 // A struct of ten size_t; hblkhd is the fifth, uordblks the eighth.
	purego.SyscallN(mallinfo2, uintptr(unsafe.Pointer(&info)))
	return int64(info[4] + info[7])
}

// buildBench builds testdata/bench.c.
func buildBench(t testing.TB) (program string) {
	t.Helper()
	library, err := filepath.Abs(os.Getenv("FATHOM_LIBRARY"))
	if err != nil {
		t.Fatal(err)
	}
	program = filepath.Join(t.TempDir(), "bench")
	compile := exec.Command("cc", "-O2", "-I../../include", "testdata/bench.c", library,
		"-Wl,-rpath,"+filepath.Dir(library), "-o", program)
	if output, err := compile.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, output)
	}
	return program
}

func runBench(t testing.TB, program string, seconds, streams int) (gap time.Duration) {
	t.Helper()
	output, err := exec.Command(program, modelFolder(), strconv.Itoa(seconds),
		strconv.Itoa(streams)).Output()
	if err != nil {
		t.Fatal(err)
	}
	var us, tokensPerSecond float64
	if _, err := fmt.Sscan(string(output), &us, &tokensPerSecond); err != nil {
		t.Fatal(err)
	}
	return time.Duration(us * float64(time.Microsecond))
}

// state is what must not grow.
type state struct {
	goroutines, descriptors int
	heap                    int64
}

func settled(t testing.TB, s *server) (now state) {
	t.Helper()
	http.DefaultClient.CloseIdleConnections()
	eventually(t, "connections close", func() bool {
		runtime.GC()
		before := now.goroutines
		now = state{runtime.NumGoroutine(), descriptors(t), nativeHeap(t)}
		return now.goroutines == before && s.metrics.inFlight.Load() == 0
	})
	return now
}

func median[T cmp.Ordered](values []T) T {
	slices.Sort(values)
	return values[len(values)/2]
}

const nClients = 64

// run lets the clients ask for as long as duration says.
func (l *load) run(base string, seed uint64, duration time.Duration) {
	var wg sync.WaitGroup
	end := time.Now().Add(duration)
	for client := range nClients {
		wg.Go(func() {
			random := rand.New(rand.NewPCG(seed, uint64(client)))
			for time.Now().Before(end) {
				l.ask(base, random)
			}
		})
	}
	wg.Wait()
}

func TestLoad(t *testing.T) {
	// Breaks if clients that come and go make errors, leak, or slow down the others. FATHOM_LOAD is
	// the number of rounds of ten seconds, each behind five seconds of the same load in C; only then
	// is the time judged.
	rounds, seconds, secondsInC := 1, 3, 2
	text := os.Getenv("FATHOM_LOAD")
	if text != "" {
		var err error
		if rounds, err = strconv.Atoi(text); err != nil || rounds < 1 {
			t.Fatalf("FATHOM_LOAD: %q, %v", text, err)
		}
		seconds, secondsInC = 10, 5
	}
	bench := buildBench(t)
	s, h := startServer(t)
	http.DefaultTransport.(*http.Transport).MaxIdleConnsPerHost = nClients
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	new(load).run(h.URL, seed, time.Second)
	before := settled(t, s)
	var all load
	var ratios, gaps, inC []float64 // Milliseconds.
	for round := range rounds {
		inC = append(inC, runBench(t, bench, secondsInC, nClients).Seconds()*1e3)
		var l load
		l.run(h.URL, seed+uint64(round), time.Duration(seconds)*time.Second)
		if len(l.gaps) == 0 {
			t.Fatalf("no tokens; errors: %v", l.firstUnexpected)
		}
		gaps = append(gaps, median(l.gaps).Seconds()*1e3)
		ratios = append(ratios, gaps[round]/inC[round])
		all.whole, all.dropped = all.whole+l.whole, all.dropped+l.dropped
		all.unexpected += l.unexpected
		all.firstUnexpected = cmp.Or(all.firstUnexpected, l.firstUnexpected)
	}
	after := settled(t, s)
	t.Logf("%d whole answers, %d dropped, %d unexpected; median milliseconds between tokens: %.2f "+
		"here, %.2f in C, of the rounds' ratios %.2f; before %+v, after %+v", all.whole, all.dropped,
		all.unexpected, median(gaps), median(inC), median(ratios), before, after)
	if text != "" && median(ratios) > 1.1 {
		t.Errorf("the time between tokens is %.2f times that in C, wanted at most 1.1",
			median(ratios))
	}
	if all.unexpected != 0 || all.whole == 0 || all.dropped == 0 {
		t.Errorf("errors: %v", all.firstUnexpected)
	}
	// A session is 24 KB.
	if after.goroutines > before.goroutines || after.descriptors > before.descriptors ||
		after.heap > before.heap+1<<20 {
		t.Errorf("before %+v, after %+v", before, after)
	}
	if stats, err := s.engine.Stats(); err != nil || stats.Sessions > idleSessions {
		t.Errorf("%v, stats %+v", err, stats)
	}
	if _, text := get(t, h.URL+"/metrics"); strings.Contains(text, `code="5`) {
		t.Errorf("metrics:\n%s", text)
	}
}
