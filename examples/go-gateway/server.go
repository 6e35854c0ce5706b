package main

import (
	"context"
	_ "embed"
	"encoding/json"
	"errors"
	"math"
	"net/http"
	"strconv"
	"sync/atomic"
	"time"

	"fathom.dev/go"
)

//go:embed page.html
var page []byte

// A server answers requests with one model.
type server struct {
	engine    *fathom.Engine
	model     *fathom.Model
	tokenizer *fathom.Tokenizer
	name      string // By which clients know the model.
	created   int64
	keys      *keyring
	metrics   metrics
	draining  atomic.Bool
	// inFlightMost bounds the requests at a time, and so memory and descriptors.
	inFlightMost int64
}

// serverOptions say what to serve and to whom.
type serverOptions struct {
	folder string // The checkpoint's.
	name   string
	keys   *keyring
	engine fathom.EngineOptions
	model  fathom.ModelOptions
}

func newServer(ctx context.Context, o serverOptions) (_ *server, err error) {
	s := &server{name: o.name, created: time.Now().Unix(), keys: o.keys, inFlightMost: 1024}
	defer func() {
		if err != nil {
			s.close()
		}
	}()
	if s.engine, err = fathom.NewEngine(o.engine); err != nil {
		return nil, err
	}
	if s.model, err = s.engine.LoadModel(ctx, o.folder, o.model); err != nil {
		return nil, err
	}
	if s.tokenizer, err = s.model.Tokenizer(); err != nil {
		return nil, err
	}
	return s, nil
}

func (s *server) handler() http.Handler {
	mux := http.NewServeMux()
	for _, prefix := range []string{"/v1", ""} { // OpenAI's base URL ends in /v1, DeepSeek's may not.
		mux.HandleFunc("POST "+prefix+"/chat/completions", s.chat)
		mux.HandleFunc("GET "+prefix+"/models", s.models)
	}
	mux.HandleFunc("GET /healthz", s.health)
	mux.HandleFunc("GET /metrics", s.serveMetrics)
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		w.Header().Set("Content-Security-Policy",
			"default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; "+
				"connect-src 'self'")
		w.Write(page)
	})
	return mux
}

// drain refuses new requests, lets answers finish until ctx ends, and then ends them.
func (s *server) drain(ctx context.Context) error {
	s.draining.Store(true)
	return s.engine.Shutdown(ctx)
}

// close gives everything back.
func (s *server) close() {
	for _, k := range s.keys.all() {
		k.sessions.close()
	}
	if s.tokenizer != nil {
		s.tokenizer.Close()
	}
	if s.model != nil {
		s.model.Close()
	}
	if s.engine != nil {
		s.engine.Close()
	}
}

// health says whether new requests are welcome, for whoever distributes them.
func (s *server) health(w http.ResponseWriter, r *http.Request) {
	stats, err := s.engine.Stats()
	switch {
	case err != nil || stats.DeviceStatus != 0:
		http.Error(w, "the engine failed", http.StatusServiceUnavailable)
	case s.draining.Load():
		http.Error(w, "shutting down", http.StatusServiceUnavailable)
	default:
		w.Write([]byte("ok\n"))
	}
}

func (s *server) models(w http.ResponseWriter, r *http.Request) {
	if s.keys.find(r.Header.Get("Authorization")) == nil {
		writeError(w, errUnauthorized)
		return
	}
	type model struct {
		ID      string `json:"id"`
		Object  string `json:"object"`
		Created int64  `json:"created"`
		OwnedBy string `json:"owned_by"`
	}
	writeJSON(w, http.StatusOK, struct {
		Object string  `json:"object"`
		Data   []model `json:"data"`
	}{"list", []model{{s.name, "model", s.created, "fathom"}}})
}

func writeJSON(w http.ResponseWriter, status int, value any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	json.NewEncoder(w).Encode(value)
}

var errUnauthorized = &apiError{status: http.StatusUnauthorized,
	Message: "the API key is missing or unknown", Type: "authentication_error",
	Code: "invalid_api_key"}

var errOverloaded = &apiError{status: http.StatusServiceUnavailable,
	Message: "the gateway is answering as many requests as it can", Type: "server_error",
	Code: "overloaded", wait: time.Second}

func badRequest(message string) *apiError {
	return &apiError{status: http.StatusBadRequest, Message: message, Type: "invalid_request_error"}
}

// apiErrorOf turns any failure into what the client is told.
func apiErrorOf(err error) *apiError {
	var e *apiError
	var limit *limitError
	var tooLarge *http.MaxBytesError
	switch {
	case errors.As(err, &e):
		return e
	case errors.As(err, &limit):
		return &apiError{status: http.StatusTooManyRequests, Message: err.Error(),
			Type: "rate_limit_error", Code: "rate_limit_exceeded", wait: limit.wait}
	case errors.As(err, &tooLarge):
		return &apiError{status: http.StatusRequestEntityTooLarge, Message: err.Error(),
			Type: "invalid_request_error"}
	case errors.Is(err, fathom.ErrContextFull), errors.Is(err, fathom.ErrBudget):
		return &apiError{status: http.StatusBadRequest, Message: err.Error(),
			Type: "invalid_request_error", Code: "context_length_exceeded"}
	case errors.Is(err, fathom.ErrInvalidArgument), errors.Is(err, fathom.ErrFormat),
		errors.Is(err, fathom.ErrTemplate), errors.Is(err, fathom.ErrUnsupported):
		return badRequest(err.Error())
	case errors.Is(err, fathom.ErrShutdown), errors.Is(err, fathom.ErrClosed):
		return &apiError{status: http.StatusServiceUnavailable, Message: "shutting down",
			Type: "server_error", wait: time.Second}
	}
	return &apiError{status: http.StatusInternalServerError, Message: err.Error(),
		Type: "server_error"}
}

func writeError(w http.ResponseWriter, err error) int {
	e := apiErrorOf(err)
	if e.wait > 0 {
		w.Header().Set("Retry-After", strconv.Itoa(int(math.Ceil(e.wait.Seconds()))))
	}
	writeJSON(w, e.status, errorBody{e})
	return e.status
}
