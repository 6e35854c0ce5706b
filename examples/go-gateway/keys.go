package main

import (
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"sync"
	"time"
)

// A key is one customer of the gateway: what may be spent, and the idle sessions that hold the
// beginnings of its conversations. Nothing of one key's cache serves another.
type key struct {
	Key               string `json:"key"`
	Name              string `json:"name"`                // For the metrics.
	RequestsPerMinute int    `json:"requests_per_minute"` // 0: any number, here and below.
	TokensPerMinute   int    `json:"tokens_per_minute"`   // Of prompts and answers together.
	Concurrency       int    `json:"concurrency"`         // Requests at the same time.

	mu       sync.Mutex
	requests bucket
	tokens   bucket
	running  int
	sessions sessionPool
}

// A keyring finds keys by hash, so that looking one up takes no time that depends on the secret.
type keyring struct {
	keys map[[sha256.Size]byte]*key
	open *key // Serves everybody if there are no keys.
}

func loadKeys(path string) (*keyring, error) {
	if path == "" {
		return newKeyring(nil)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	var keys []*key
	if err := json.Unmarshal(text, &keys); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	if len(keys) == 0 {
		return nil, fmt.Errorf("%s: found no keys; without keys, leave out -keys", path)
	}
	return newKeyring(keys)
}

func newKeyring(keys []*key) (*keyring, error) {
	ring := &keyring{keys: make(map[[sha256.Size]byte]*key)}
	if len(keys) == 0 {
		ring.open = &key{Name: "anyone"}
	}
	names := make(map[string]bool)
	for i, k := range keys {
		hash := sha256.Sum256([]byte(k.Key))
		switch {
		case k.Key == "" || k.Name == "":
			return nil, fmt.Errorf("key %d: found an empty key or name", i)
		case names[k.Name] || ring.keys[hash] != nil:
			return nil, fmt.Errorf("key %d: its key or name %q is there twice", i, k.Name)
		case k.RequestsPerMinute < 0 || k.TokensPerMinute < 0 || k.Concurrency < 0:
			return nil, fmt.Errorf("key %q: found a negative limit", k.Name)
		}
		k.requests = newBucket(k.RequestsPerMinute)
		k.tokens = newBucket(k.TokensPerMinute)
		names[k.Name], ring.keys[hash] = true, k
	}
	return ring, nil
}

// find returns the key of an Authorization header, nil if there is none such.
func (r *keyring) find(authorization string) *key {
	if r.open != nil {
		return r.open
	}
	secret, ok := strings.CutPrefix(authorization, "Bearer ")
	if !ok {
		return nil
	}
	return r.keys[sha256.Sum256([]byte(secret))]
}

func (r *keyring) all() []*key {
	if r.open != nil {
		return []*key{r.open}
	}
	var keys []*key
	for _, k := range r.keys {
		keys = append(keys, k)
	}
	return keys
}

// A limitError says which limit stands in the way and when to come again.
type limitError struct {
	what string
	wait time.Duration
}

func (e *limitError) Error() string { return "the key's limit of " + e.what + " is reached" }

// begin takes one request and the tokens of its prompt out of the key's limits, or nothing at all.
// The caller ends what it begins.
func (k *key) begin(promptTokens int, now time.Time) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.Concurrency > 0 && k.running >= k.Concurrency {
		return &limitError{"concurrent requests", time.Second}
	}
	if wait := k.requests.wait(1, now); wait > 0 {
		return &limitError{"requests per minute", wait}
	}
	if wait := k.tokens.wait(float64(promptTokens), now); wait > 0 {
		return &limitError{"tokens per minute", wait}
	}
	k.requests.take(1)
	k.tokens.take(float64(promptTokens))
	k.running++
	return nil
}

// end gives the place back and takes what the answer cost. That may overdraw the limit, for its
// length is not known before; then the next request waits for longer.
func (k *key) end(answerTokens int) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.running--
	k.tokens.take(float64(answerTokens))
}

// A bucket holds what may be spent. It fills up within a minute.
type bucket struct {
	size, level float64
	at          time.Time
}

func newBucket(perMinute int) bucket {
	return bucket{size: float64(perMinute), level: float64(perMinute)}
}

// wait says how long until there is enough; what is larger than the bucket waits for a full one.
func (b *bucket) wait(amount float64, now time.Time) time.Duration {
	if b.size == 0 {
		return 0
	}
	perSecond := b.size / 60
	if !b.at.IsZero() {
		b.level = min(b.size, b.level+now.Sub(b.at).Seconds()*perSecond)
	}
	b.at = now
	missing := min(amount, b.size) - b.level
	if missing <= 0 {
		return 0
	}
	return max(time.Duration(missing/perSecond*float64(time.Second)), time.Millisecond)
}

func (b *bucket) take(amount float64) {
	if b.size != 0 {
		b.level -= amount
	}
}
