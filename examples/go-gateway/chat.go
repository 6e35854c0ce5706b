package main

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"fathom.dev/go"
)

const (
	// bodyMost bounds what a request may send.
	bodyMost = 4 << 20
	// readMost bounds how long a client may take to send its request.
	readMost = 30 * time.Second
	// writeMost bounds how long a client may take to receive one chunk, and half of it is granted.
	writeMost = 30 * time.Second
	// clientGone is how the metrics name a request whose client did not wait for the answer.
	clientGone = 499
)

func (s *server) chat(w http.ResponseWriter, r *http.Request) {
	k := s.keys.find(r.Header.Get("Authorization"))
	if k == nil {
		s.metrics.count("", writeError(w, errUnauthorized))
		return
	}
	status, err := s.admit(w, r, k)
	if err != nil {
		status = writeError(w, err)
	}
	s.metrics.count(k.Name, status)
}

func (s *server) admit(w http.ResponseWriter, r *http.Request, k *key) (status int, err error) {
	defer s.metrics.inFlight.Add(-1)
	if s.metrics.inFlight.Add(1) > s.inFlightMost {
		return 0, errOverloaded
	}
	request, err := readRequest(w, r)
	if err != nil {
		return 0, err
	}
	return s.answer(w, r, k, request)
}

func readRequest(w http.ResponseWriter, r *http.Request) (*chatRequest, error) {
	control := http.NewResponseController(w)
	if err := control.SetReadDeadline(time.Now().Add(readMost)); err != nil {
		return nil, err
	}
	// Only behind the end of the body does the server notice that a client goes away.
	text, err := io.ReadAll(http.MaxBytesReader(w, r.Body, bodyMost))
	if err != nil {
		var tooLarge *http.MaxBytesError
		if errors.As(err, &tooLarge) {
			return nil, err
		}
		return nil, badRequest("body: " + err.Error())
	}
	if err := control.SetReadDeadline(time.Time{}); err != nil {
		return nil, err
	}
	request := new(chatRequest)
	if err := json.Unmarshal(text, request); err != nil {
		return nil, badRequest("body: " + err.Error())
	}
	return request, nil
}

// answer answers a request, or returns an error without having written anything.
func (s *server) answer(
	w http.ResponseWriter, r *http.Request, k *key, request *chatRequest,
) (status int, err error) {
	options, promptOptions, err := request.options()
	if err != nil {
		return 0, badRequest(err.Error())
	}
	if request.Model != s.name {
		return 0, &apiError{status: http.StatusNotFound, Message: "model: found \"" + request.Model +
			"\", this gateway has \"" + s.name + "\"", Type: "invalid_request_error",
			Code: "model_not_found"}
	}
	prompt, err := s.model.NewPrompt(promptOptions)
	if err != nil {
		return 0, err
	}
	defer prompt.Close()
	if err := prompt.AddOpenAI(request.Messages); err != nil {
		return 0, err
	}
	ids, err := prompt.Render()
	if err != nil {
		return 0, err
	}
	if err := k.begin(len(ids), time.Now()); err != nil {
		return 0, err
	}
	talk, err := k.sessions.take(s.model, ids)
	if err != nil {
		k.end(0)
		return 0, err
	}
	stream, err := talk.session.Start(prompt, options)
	if err != nil {
		k.sessions.give(talk)
		k.end(0)
		return 0, err
	}
	a := &answer{server: s, w: w, stream: stream, ids: ids, began: time.Now(), head: completion{
		ID: "chatcmpl-" + rand.Text(), Created: time.Now().Unix(), Model: s.name}}
	defer func() {
		spent := a.finish()
		talk.ids = a.ids
		k.sessions.give(talk)
		k.end(int(spent.ReasoningTokens + spent.OutputTokens))
		s.metrics.spend(k.Name, spent)
	}()
	if request.Stream {
		return a.send(r.Context(), request.StreamOptions.IncludeUsage)
	}
	return a.whole(r.Context())
}

// An answer is one completion on its way.
type answer struct {
	server *server
	w      http.ResponseWriter
	stream *fathom.Stream
	ids    []int32 // The transcript of its session.
	began  time.Time
	head   completion
	// extended is when the client was last given time to receive.
	extended time.Time
	// inReasoning tells to which part the log-probabilities of the next event belong.
	inReasoning bool
}

// next waits for an event. It returns ctx.Err() when the client has gone.
func (a *answer) next(ctx context.Context) (fathom.Event, error) {
	event, err := a.stream.Next(ctx)
	if err != nil {
		return event, err
	}
	if len(event.IDs) > 0 && !a.began.IsZero() {
		a.server.metrics.firstToken.observe(time.Since(a.began))
		a.began = time.Time{}
	}
	a.ids = append(a.ids, event.IDs...)
	switch event.Type {
	case fathom.EventReasoning:
		a.inReasoning = true
	case fathom.EventText:
		a.inReasoning = false
	}
	return event, event.Err()
}

// finish cancels what still runs, and returns what the answer cost once that is certain.
func (a *answer) finish() fathom.Usage {
	defer a.stream.Close()
	a.stream.Cancel()
	for {
		event, err := a.stream.Next(context.Background())
		if err != nil { // The last event was there already.
			break
		}
		a.ids = append(a.ids, event.IDs...)
	}
	spent, err := a.stream.Usage()
	if err != nil {
		return fathom.Usage{}
	}
	return spent
}

// whole collects the answer and sends it in one piece.
func (a *answer) whole(ctx context.Context) (status int, err error) {
	var content, reasoning strings.Builder
	var logs *logprobs
	for {
		event, err := a.next(ctx)
		if err != nil {
			if ctx.Err() != nil {
				return clientGone, nil
			}
			return 0, err
		}
		switch event.Type {
		case fathom.EventReasoning:
			reasoning.WriteString(event.Text)
		case fathom.EventText:
			content.WriteString(event.Text)
		case fathom.EventLogprobs:
			if logs == nil {
				logs = new(logprobs)
			}
			logs.Content = append(logs.Content, a.logprobs(event)...)
		case fathom.EventDone:
			spent, err := a.stream.Usage()
			if err != nil {
				return 0, err
			}
			m := message{Role: "assistant", Content: text(content.String())}
			if reasoning.Len() > 0 {
				m.ReasoningContent = text(reasoning.String())
			}
			a.head.Object = "chat.completion"
			a.head.Choices = []choice{{Message: &m, Logprobs: logs,
				FinishReason: text(finishReason(event.Finish))}}
			a.head.Usage = usageOf(spent)
			writeJSON(a.w, http.StatusOK, a.head)
			return http.StatusOK, nil
		}
	}
}

// send streams the answer as server-sent events.
func (a *answer) send(ctx context.Context, includeUsage bool) (status int, err error) {
	a.w.Header().Set("Content-Type", "text/event-stream")
	a.w.Header().Set("Cache-Control", "no-store")
	a.head.Object = "chat.completion.chunk"
	// The connection may serve another request.
	defer http.NewResponseController(a.w).SetWriteDeadline(time.Time{})
	if a.chunk(choice{Delta: &message{Role: "assistant", Content: text("")}}) != nil {
		return clientGone, nil
	}
	for {
		event, err := a.next(ctx)
		if err != nil {
			if ctx.Err() != nil {
				return clientGone, nil
			}
			e := apiErrorOf(err)
			a.write(errorBody{e})
			return e.status, nil
		}
		c := choice{Delta: new(message)}
		switch event.Type {
		case fathom.EventReasoning:
			c.Delta.ReasoningContent = text(event.Text)
		case fathom.EventText:
			c.Delta.Content = text(event.Text)
		case fathom.EventLogprobs:
			c.Logprobs = &logprobs{a.logprobs(event)}
		case fathom.EventDone:
			c.FinishReason = text(finishReason(event.Finish))
		default:
			continue
		}
		if a.chunk(c) != nil {
			return clientGone, nil
		}
		if event.Type == fathom.EventDone {
			a.end(includeUsage)
			return http.StatusOK, nil
		}
	}
}

// end sends what follows the last choice. Nobody may be there to hear it any more.
func (a *answer) end(includeUsage bool) {
	if spent, err := a.stream.Usage(); err == nil && includeUsage {
		a.head.Choices, a.head.Usage = []choice{}, usageOf(spent)
		a.write(a.head)
	}
	io.WriteString(a.w, "data: [DONE]\n\n")
}

func (a *answer) chunk(c choice) error {
	a.head.Choices = append(a.head.Choices[:0], c)
	return a.write(a.head)
}

// write sends one event at once. A client that does not take it in time has gone.
func (a *answer) write(value any) error {
	data, err := json.Marshal(value)
	if err != nil {
		return err
	}
	control := http.NewResponseController(a.w)
	if now := time.Now(); now.Sub(a.extended) > writeMost/2 {
		if err := control.SetWriteDeadline(now.Add(writeMost)); err != nil {
			return err
		}
		a.extended = now
	}
	if _, err := fmt.Fprintf(a.w, "data: %s\n\n", data); err != nil {
		return err
	}
	return control.Flush()
}

func text(s string) *string { return &s }

// logprobs translates log-probabilities; those of reasoning have no place in the protocol.
func (a *answer) logprobs(event fathom.Event) []tokenLogprob {
	if a.inReasoning {
		return nil
	}
	var content []tokenLogprob
	for rest := event.Logprobs; len(rest) > 0; {
		n := int(rest[0].Alternatives)
		entry := a.token(rest[0])
		for _, alternative := range rest[1 : 1+n] {
			entry.TopLogprobs = append(entry.TopLogprobs, a.token(alternative))
		}
		content = append(content, entry)
		rest = rest[1+n:]
	}
	return content
}

func (a *answer) token(l fathom.Logprob) tokenLogprob {
	entry := tokenLogprob{Logprob: l.Logprob}
	if text, err := a.server.tokenizer.Decode([]int32{l.Token}, 0); err == nil {
		entry.Token = string(text)
		for _, b := range text {
			entry.Bytes = append(entry.Bytes, int(b))
		}
	}
	return entry
}
