package main

import (
	"sync"

	"fathom.dev/go"
)

// idleSessions is how many conversations a key may leave in the cache. The library drops what the
// KV cache has no room for, the one used longest ago first.
const idleSessions = 16

// A sessionPool keeps sessions whose transcript may be the beginning of the next request.
type sessionPool struct {
	mu   sync.Mutex
	idle []*conversation // The one used longest ago first.
}

// A conversation is a session and the ids in its transcript.
type conversation struct {
	session *fathom.Session
	ids     []int32
}

// take returns the idle conversation that shares most of its ids with the prompt. One that shares
// no more than what all prompts begin with is as good as a new one.
func (p *sessionPool) take(model *fathom.Model, prompt []int32) (*conversation, error) {
	const least = 8
	p.mu.Lock()
	best, length := -1, least
	for i, c := range p.idle {
		if n := commonPrefix(c.ids, prompt); n > length {
			best, length = i, n
		}
	}
	if best >= 0 {
		c := p.idle[best]
		p.idle = append(p.idle[:best], p.idle[best+1:]...)
		p.mu.Unlock()
		return c, nil
	}
	p.mu.Unlock()
	session, err := model.NewSession(fathom.SessionOptions{})
	if err != nil {
		return nil, err
	}
	return &conversation{session: session}, nil
}

func commonPrefix(a, b []int32) int {
	n := 0
	for n < len(a) && n < len(b) && a[n] == b[n] {
		n++
	}
	return n
}

// give returns a conversation whose stream is closed, with the ids that it holds now.
func (p *sessionPool) give(c *conversation) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.idle = append(p.idle, c)
	if len(p.idle) > idleSessions {
		p.idle[0].session.Close()
		p.idle = append(p.idle[:0], p.idle[1:]...)
	}
}

func (p *sessionPool) close() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, c := range p.idle {
		c.session.Close()
	}
	p.idle = nil
}
