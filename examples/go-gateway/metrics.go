package main

import (
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"fathom.dev/go"
)

// metrics are the gateway's counters, which Prometheus collects from /metrics.
type metrics struct {
	inFlight   atomic.Int64
	firstToken histogram
	requests   counters
	tokens     counters
}

func (m *metrics) count(key string, status int) {
	m.requests.add(1, "key", key, "code", strconv.Itoa(status))
}

func (m *metrics) spend(key string, spent fathom.Usage) {
	m.tokens.add(spent.PromptCached, "key", key, "kind", "prompt_cache_hit")
	m.tokens.add(spent.PromptFresh, "key", key, "kind", "prompt_cache_miss")
	m.tokens.add(spent.ReasoningTokens, "key", key, "kind", "reasoning")
	m.tokens.add(spent.OutputTokens, "key", key, "kind", "output")
}

// counters are numbers that only grow, by their labels.
type counters struct {
	mu     sync.Mutex
	values map[string]uint64
}

var labelEscaper = strings.NewReplacer("\\", "\\\\", "\"", "\\\"", "\n", "\\n")

// add adds to the counter with the labels given as names and values in turn.
func (c *counters) add(n uint64, labels ...string) {
	var text strings.Builder
	for i := 0; i < len(labels); i += 2 {
		if i > 0 {
			text.WriteByte(',')
		}
		fmt.Fprintf(&text, `%s="%s"`, labels[i], labelEscaper.Replace(labels[i+1]))
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.values == nil {
		c.values = make(map[string]uint64)
	}
	c.values[text.String()] += n
}

func (c *counters) write(w io.Writer, name, help string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	fmt.Fprintf(w, "# HELP %s %s\n# TYPE %s counter\n", name, help, name)
	for _, labels := range slices.Sorted(maps.Keys(c.values)) {
		fmt.Fprintf(w, "%s{%s} %d\n", name, labels, c.values[labels])
	}
}

// A histogram counts durations by upper bound, in seconds.
type histogram struct {
	mu     sync.Mutex
	counts [len(bounds) + 1]uint64
	sum    float64
}

var bounds = [...]float64{0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10}

func (h *histogram) observe(d time.Duration) {
	h.mu.Lock()
	defer h.mu.Unlock()
	i, _ := slices.BinarySearch(bounds[:], d.Seconds())
	h.counts[i]++
	h.sum += d.Seconds()
}

func (h *histogram) write(w io.Writer, name, help string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	fmt.Fprintf(w, "# HELP %s %s\n# TYPE %s histogram\n", name, help, name)
	var total uint64
	for i, bound := range bounds {
		total += h.counts[i]
		fmt.Fprintf(w, "%s_bucket{le=\"%g\"} %d\n", name, bound, total)
	}
	total += h.counts[len(bounds)]
	fmt.Fprintf(w, "%s_bucket{le=\"+Inf\"} %d\n%s_sum %g\n%s_count %d\n", name, total, name, h.sum,
		name, total)
}

func (s *server) serveMetrics(w http.ResponseWriter, r *http.Request) {
	stats, err := s.engine.Stats()
	if err != nil {
		writeError(w, err)
		return
	}
	w.Header().Set("Content-Type", "text/plain; version=0.0.4; charset=utf-8")
	m := &s.metrics
	m.requests.write(w, "fathom_gateway_requests_total",
		"Requests by key and HTTP status; 499 is a client that did not wait.")
	m.tokens.write(w, "fathom_gateway_tokens_total", "Tokens by key and kind.")
	m.firstToken.write(w, "fathom_gateway_first_token_seconds",
		"Time from the request to its first token.")
	for _, v := range []struct {
		name, kind, help string
		value            float64
	}{
		{"gateway_in_flight", "gauge", "Requests being answered.", float64(m.inFlight.Load())},
		{"engine_streams_running", "gauge", "Streams in the batch.", float64(stats.Running)},
		{"engine_streams_waiting", "gauge", "Streams waiting for a place in the batch.",
			float64(stats.Waiting)},
		{"engine_sessions", "gauge", "Open sessions.", float64(stats.Sessions)},
		{"engine_kv_pages", "gauge", "Pages of the KV cache.", float64(stats.KVPages)},
		{"engine_kv_pages_used", "gauge", "Pages that hold tokens.", float64(stats.KVPagesUsed)},
		{"engine_memory_bytes", "gauge", "Weights, KV cache and workspace.",
			float64(stats.MemoryBytes)},
		{"engine_steps_total", "counter", "Steps of the engine.", float64(stats.Steps)},
		{"engine_prefill_tokens_total", "counter", "Prompt tokens computed.",
			float64(stats.PrefillTokens)},
		{"engine_decode_tokens_total", "counter", "Tokens generated.", float64(stats.DecodeTokens)},
		{"engine_step_seconds_total", "counter", "Time inside steps.", stats.StepTime.Seconds()},
	} {
		fmt.Fprintf(w, "# HELP fathom_%s %s\n# TYPE fathom_%s %s\nfathom_%s %v\n", v.name, v.help,
			v.name, v.kind, v.name, v.value)
	}
}
