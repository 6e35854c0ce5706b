package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"runtime"
	"strings"
	"testing"
	"time"

	"fathom.dev/go"
)

func TestMain(m *testing.M) {
	if err := fathom.Load(""); err != nil {
		io.WriteString(os.Stderr, err.Error()+"\n")
		os.Exit(1)
	}
	os.Exit(m.Run())
}

const demoName = "fathom-demo"

func modelFolder() string {
	if folder := os.Getenv("FATHOM_MODEL"); folder != "" {
		return folder
	}
	return "../demo-model/model"
}

func startServer(t testing.TB, keys ...*key) (*server, *httptest.Server) {
	t.Helper()
	ring, err := newKeyring(keys)
	if err != nil {
		t.Fatal(err)
	}
	s, err := newServer(t.Context(), serverOptions{folder: modelFolder(), name: demoName,
		keys: ring, engine: fathom.EngineOptions{Threads: 2, KVCacheBytes: 64 << 20}})
	if err != nil {
		t.Fatal(err)
	}
	h := httptest.NewServer(s.handler())
	t.Cleanup(func() {
		h.Close()
		s.close()
	})
	return s, h
}

// A body is a request in JSON's terms.
type body map[string]any

// question asks for a sum, greedily; more replaces or adds fields.
func question(more body) body {
	b := body{"model": demoName, "temperature": 0, "messages": []body{
		{"role": "user", "content": "What is 4812 + 977?"}}}
	for name, value := range more {
		b[name] = value
	}
	return b
}

// post sends a request, whose response the test closes.
func post(t testing.TB, ctx context.Context, base, secret string, b body) *http.Response {
	t.Helper()
	text, err := json.Marshal(b)
	if err != nil {
		t.Fatal(err)
	}
	r, err := http.NewRequestWithContext(ctx, "POST", base+"/v1/chat/completions",
		bytes.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer "+secret)
	response, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { response.Body.Close() })
	return response
}

func get(t testing.TB, url string) (status int, text string) {
	t.Helper()
	response, err := http.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	all, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return response.StatusCode, string(all)
}

// eventually waits for a condition that another thread brings about.
func eventually(t testing.TB, what string, condition func() bool) {
	t.Helper()
	for deadline := time.Now().Add(30 * time.Second); !condition(); runtime.Gosched() {
		if time.Now().After(deadline) {
			t.Fatal("not within 30 s: " + what)
		}
	}
}

// endless is a request whose answer takes as long as the context lasts.
func endless(b body) body {
	b["logit_bias"] = map[string]float32{"1": -10000} // The end of a turn.
	return b
}

func TestDisconnectCancels(t *testing.T) {
	// Breaks if the engine works on for clients that have gone, streaming or not.
	s, h := startServer(t)
	for _, streams := range []bool{true, false} {
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() {
			defer close(done)
			text, _ := json.Marshal(endless(question(body{"stream": streams})))
			r, _ := http.NewRequestWithContext(ctx, "POST", h.URL+"/v1/chat/completions",
				bytes.NewReader(text))
			if response, err := http.DefaultClient.Do(r); err == nil {
				io.Copy(io.Discard, response.Body)
				response.Body.Close()
			}
		}()
		eventually(t, "the answer runs", func() bool {
			stats, err := s.engine.Stats()
			return err == nil && stats.Running > 0
		})
		cancel()
		<-done
		eventually(t, "the answer is cancelled", func() bool {
			stats, err := s.engine.Stats()
			return err == nil && stats.Running == 0 && s.metrics.inFlight.Load() == 0
		})
	}
	if _, text := get(t, h.URL+"/metrics"); !strings.Contains(text,
		`fathom_gateway_requests_total{key="anyone",code="499"} 2`) {
		t.Errorf("metrics:\n%s", text)
	}
}

func TestLimits(t *testing.T) {
	// Breaks if a key may spend more than it has, or the spending of one stops another.
	s, h := startServer(t,
		&key{Key: "a", Name: "few requests", RequestsPerMinute: 2},
		&key{Key: "b", Name: "few tokens", TokensPerMinute: 20},
		&key{Key: "c", Name: "one at a time", Concurrency: 1},
		&key{Key: "d", Name: "rich"})
	status := func(secret string) int {
		response := post(t, t.Context(), h.URL, secret, question(body{"max_tokens": 4}))
		io.Copy(io.Discard, response.Body)
		if response.StatusCode == 429 && response.Header.Get("Retry-After") == "" {
			t.Error("429 without Retry-After")
		}
		return response.StatusCode
	}
	for _, c := range []struct {
		secret string
		wanted []int
	}{
		{"a", []int{200, 200, 429}},
		{"b", []int{200, 429}}, // 18 tokens of prompt and 4 of answer are more than 20.
		{"d", []int{200, 200, 200}},
		{"e", []int{401}},
		{"", []int{401}},
	} {
		for i, wanted := range c.wanted {
			if found := status(c.secret); found != wanted {
				t.Errorf("key %q, request %d: status %d, wanted %d", c.secret, i, found, wanted)
			}
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	response := post(t, ctx, h.URL, "c", endless(question(body{"stream": true})))
	if response.StatusCode != 200 || status("c") != 429 {
		t.Error("two at a time with a concurrency of one")
	}
	cancel()
	eventually(t, "the first has ended", func() bool { return s.metrics.inFlight.Load() == 0 })
	if found := status("c"); found != 200 {
		t.Errorf("one at a time: status %d", found)
	}
}

func TestOverload(t *testing.T) {
	// Breaks if more requests are let in than there is room for, or none after that.
	s, h := startServer(t)
	s.inFlightMost = 1
	ctx, cancel := context.WithCancel(t.Context())
	post(t, ctx, h.URL, "", endless(question(body{"stream": true})))
	if second := post(t, t.Context(), h.URL, "", question(nil)); second.StatusCode != 503 {
		t.Errorf("the second of one: status %d", second.StatusCode)
	}
	cancel()
	eventually(t, "the first has ended", func() bool { return s.metrics.inFlight.Load() == 0 })
	if next := post(t, t.Context(), h.URL, "", question(nil)); next.StatusCode != 200 {
		t.Errorf("the next: status %d", next.StatusCode)
	}
}

func TestBucket(t *testing.T) {
	// Breaks if limits fill up too fast, too slowly, or beyond their size.
	start := time.Unix(1000, 0)
	b := newBucket(60)
	for i, step := range []struct {
		after  time.Duration
		amount float64
		wait   time.Duration
	}{
		{0, 60, 0},
		{0, 1, time.Second},
		{time.Second, 1, 0},
		{time.Second, 2, 2 * time.Second},
		{time.Hour, 61, 0}, // More than it holds is let in when it is full, and overdraws it.
		{time.Hour + time.Second, 1, time.Second},
		{time.Hour + 2*time.Second, 1, 0},
	} {
		wait := b.wait(step.amount, start.Add(step.after))
		if wait == 0 {
			b.take(step.amount)
		}
		if wait.Round(time.Millisecond) != step.wait {
			t.Errorf("step %d: wait %v, wanted %v", i, wait, step.wait)
		}
	}
	if unlimited := newBucket(0); unlimited.wait(1e12, start) != 0 {
		t.Error("a limit of 0 limits")
	}
}

func TestCacheIsOnesOwn(t *testing.T) {
	// Breaks if one customer's conversation serves another, who could tell from the time.
	_, h := startServer(t, &key{Key: "a", Name: "a"}, &key{Key: "b", Name: "b"})
	hits := func(secret string) (n uint64) {
		var c completion
		response := post(t, t.Context(), h.URL, secret, question(nil))
		if err := json.NewDecoder(response.Body).Decode(&c); err != nil {
			t.Fatal(err)
		}
		return c.Usage.PromptCacheHitTokens
	}
	if n := hits("a"); n != 0 {
		t.Errorf("first: %d hits", n)
	}
	if n := hits("a"); n != 17 {
		t.Errorf("again: %d hits, wanted all but the last of 18", n)
	}
	if n := hits("b"); n != 0 {
		t.Errorf("another key: %d hits", n)
	}
}

func TestBadRequests(t *testing.T) {
	// Breaks if what cannot be done is done in part or taken for a failure of the gateway.
	s, h := startServer(t)
	for name, c := range map[string]struct {
		more   body
		status int
	}{
		"no messages":       {body{"messages": nil}, 400},
		"messages of text":  {body{"messages": "hello"}, 400},
		"another model":     {body{"model": "gpt"}, 404},
		"two answers":       {body{"n": 2}, 400},
		"tools":             {body{"tools": []body{{"type": "function"}}}, 400},
		"a schema":          {body{"response_format": body{"type": "json_schema"}}, 400},
		"heat":              {body{"temperature": 101}, 400},
		"no tokens":         {body{"max_tokens": 0}, 400},
		"thinking":          {body{"thinking": body{"type": "deeply"}}, 400},
		"a stop of numbers": {body{"stop": []int{1}}, 400},
		"a bias for a word": {body{"logit_bias": body{"word": 1}}, 400},
		"top without any":   {body{"top_logprobs": 2}, 400},
		"too long": {body{"messages": []body{{"role": "user",
			"content": strings.Repeat("one two ", 1000)}}}, 400},
		"far too long": {body{"messages": []body{{"role": "user",
			"content": strings.Repeat("a", bodyMost)}}}, 413},
	} {
		response := post(t, t.Context(), h.URL, "", question(c.more))
		var e struct {
			Error struct{ Message, Type string }
		}
		if err := json.NewDecoder(response.Body).Decode(&e); err != nil || e.Error.Message == "" ||
			e.Error.Type == "" || response.StatusCode != c.status {
			t.Errorf("%s: status %d, wanted %d, %+v, %v", name, response.StatusCode, c.status, e, err)
		}
	}
	if n := s.metrics.inFlight.Load(); n != 0 {
		t.Errorf("%d in flight", n)
	}
}

func TestGracefulShutdown(t *testing.T) {
	// Breaks if the end cuts answers short that could have finished, or waits for those that cannot.
	for _, c := range []struct {
		grace  time.Duration
		reason string
	}{{time.Minute, "length"}, {0, "insufficient_system_resource"}} {
		s, h := startServer(t)
		listener, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		ctx, stop := context.WithCancel(t.Context())
		served := make(chan error)
		go func() { served <- serve(ctx, s, listener, c.grace) }()
		response := post(t, t.Context(), "http://"+listener.Addr().String(), "",
			endless(question(body{"stream": true})))
		stop()
		eventually(t, "the gateway drains", s.draining.Load)
		if status, _ := get(t, h.URL+"/healthz"); status != 503 {
			t.Errorf("health while draining: %d", status)
		}
		if reason := lastReason(t, response.Body); reason != c.reason {
			t.Errorf("with grace %v the answer ended with %q, wanted %q", c.grace, reason, c.reason)
		}
		if err := <-served; err != nil {
			t.Error(err)
		}
		if late := post(t, t.Context(), h.URL, "", question(nil)); late.StatusCode != 503 {
			t.Errorf("a late request: status %d", late.StatusCode)
		}
	}
}

// lastReason reads a stream to its end.
func lastReason(t testing.TB, stream io.Reader) (reason string) {
	t.Helper()
	lines := bufio.NewScanner(stream)
	for lines.Scan() {
		data, ok := strings.CutPrefix(lines.Text(), "data: ")
		if !ok || data == "[DONE]" {
			continue
		}
		var c completion
		if err := json.Unmarshal([]byte(data), &c); err != nil {
			t.Fatal(err)
		}
		if len(c.Choices) > 0 && c.Choices[0].FinishReason != nil {
			reason = *c.Choices[0].FinishReason
		}
	}
	if err := lines.Err(); err != nil {
		t.Error(err)
	}
	return reason
}

func TestKeyFile(t *testing.T) {
	// Breaks if a key file that says nonsense opens the gateway.
	for name, text := range map[string]string{
		"nothing":   "",
		"no keys":   "[]",
		"no secret": `[{"name": "a"}]`,
		"twice":     `[{"name": "a", "key": "1"}, {"name": "a", "key": "2"}]`,
		"negative":  `[{"name": "a", "key": "1", "concurrency": -1}]`,
	} {
		path := t.TempDir() + "/keys.json"
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := loadKeys(path); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
	if _, err := loadKeys("/no/such/file"); err == nil {
		t.Error("no file: accepted")
	}
}
