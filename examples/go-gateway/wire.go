package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"time"

	"fathom.dev/go"
)

// A chatRequest is the body of POST /v1/chat/completions, as far as it is understood here.
type chatRequest struct {
	Model               string             `json:"model"`
	Messages            json.RawMessage    `json:"messages"`
	Stream              bool               `json:"stream"`
	StreamOptions       streamOptions      `json:"stream_options"`
	MaxTokens           *int64             `json:"max_tokens"`
	MaxCompletionTokens *int64             `json:"max_completion_tokens"`
	Temperature         *float32           `json:"temperature"`
	TopP                *float32           `json:"top_p"`
	PresencePenalty     float32            `json:"presence_penalty"`
	FrequencyPenalty    float32            `json:"frequency_penalty"`
	Seed                int64              `json:"seed"`
	Stop                stopList           `json:"stop"`
	Logprobs            bool               `json:"logprobs"`
	TopLogprobs         int32              `json:"top_logprobs"`
	LogitBias           map[string]float32 `json:"logit_bias"`
	Thinking            *thinking          `json:"thinking"` // As DeepSeek has it.
	N                   *int               `json:"n"`
	Tools               json.RawMessage    `json:"tools"`
	ResponseFormat      *responseFormat    `json:"response_format"`
}

type streamOptions struct {
	IncludeUsage bool `json:"include_usage"`
}

type thinking struct {
	Type string `json:"type"` // "enabled" or "disabled".
}

type responseFormat struct {
	Type string `json:"type"`
}

// A stopList is one string or a list of them.
type stopList []string

func (s *stopList) UnmarshalJSON(text []byte) error {
	var one string
	if json.Unmarshal(text, &one) == nil {
		*s = nil
		if one != "" { // JSON's null, too, which means none.
			*s = stopList{one}
		}
		return nil
	}
	return json.Unmarshal(text, (*[]string)(s))
}

// options translates a request, or says what in it cannot be done. What it does not look at, the
// library checks.
func (r *chatRequest) options() (
	options fathom.GenerateOptions, prompt fathom.PromptOptions, err error,
) {
	switch {
	case len(r.Messages) == 0:
		return options, prompt, errors.New("messages: found none")
	case r.N != nil && *r.N != 1:
		return options, prompt, fmt.Errorf("n: found %d, can only do 1", *r.N)
	case len(r.Tools) > 0 && string(r.Tools) != "null" && string(r.Tools) != "[]":
		return options, prompt, errors.New("tools: this model calls none")
	case r.ResponseFormat != nil && r.ResponseFormat.Type != "text":
		return options, prompt, fmt.Errorf("response_format: found %q, can only do \"text\"",
			r.ResponseFormat.Type)
	case r.TopLogprobs != 0 && !r.Logprobs:
		return options, prompt, errors.New("top_logprobs: logprobs must be true")
	case r.TopLogprobs < 0 || r.TopLogprobs > 20:
		return options, prompt, fmt.Errorf("top_logprobs: found %d, wanted 0 to 20", r.TopLogprobs)
	}
	options = fathom.GenerateOptions{
		Temperature:      1, // The default of the protocol.
		PresencePenalty:  r.PresencePenalty,
		FrequencyPenalty: r.FrequencyPenalty,
		Seed:             uint64(r.Seed),
		Stop:             r.Stop,
	}
	for _, most := range []*int64{r.MaxTokens, r.MaxCompletionTokens} {
		if most == nil {
			continue
		}
		if *most < 1 {
			return options, prompt, fmt.Errorf("max_tokens: found %d, wanted 1 or more", *most)
		}
		options.MaxTokens = uint64(*most)
	}
	if r.Temperature != nil {
		options.Temperature = *r.Temperature
	}
	if r.TopP != nil {
		options.TopP = *r.TopP
	}
	if r.Logprobs {
		options.Logprobs = 1 + r.TopLogprobs
	}
	options.LogitBias = make(map[int32]float32)
	for token, bias := range r.LogitBias {
		id, err := strconv.ParseInt(token, 10, 32)
		if err != nil {
			return options, prompt, fmt.Errorf("logit_bias: found %q, wanted a token id", token)
		}
		options.LogitBias[int32(id)] = bias
	}
	prompt.Thinking = fathom.ThinkingAuto
	if r.Thinking != nil {
		switch r.Thinking.Type {
		case "enabled":
			prompt.Thinking = fathom.ThinkingOn
		case "disabled":
			prompt.Thinking = fathom.ThinkingOff
		default:
			return options, prompt, fmt.Errorf("thinking.type: found %q, wanted \"enabled\" or "+
				"\"disabled\"", r.Thinking.Type)
		}
	}
	return options, prompt, nil
}

// A completion is an answer, whole or, as a chunk, in part.
type completion struct {
	ID      string   `json:"id"`
	Object  string   `json:"object"`
	Created int64    `json:"created"`
	Model   string   `json:"model"`
	Choices []choice `json:"choices"`
	Usage   *usage   `json:"usage,omitempty"`
}

type choice struct {
	Index        int       `json:"index"`
	Message      *message  `json:"message,omitempty"`
	Delta        *message  `json:"delta,omitempty"`
	Logprobs     *logprobs `json:"logprobs,omitempty"`
	FinishReason *string   `json:"finish_reason"`
}

type message struct {
	Role             string  `json:"role,omitempty"`
	Content          *string `json:"content,omitempty"`
	ReasoningContent *string `json:"reasoning_content,omitempty"`
}

type logprobs struct {
	Content []tokenLogprob `json:"content"`
}

type tokenLogprob struct {
	Token       string         `json:"token"`
	Logprob     float32        `json:"logprob"`
	Bytes       []int          `json:"bytes"`
	TopLogprobs []tokenLogprob `json:"top_logprobs,omitempty"`
}

// usage has OpenAI's names and DeepSeek's.
type usage struct {
	PromptTokens          uint64            `json:"prompt_tokens"`
	CompletionTokens      uint64            `json:"completion_tokens"`
	TotalTokens           uint64            `json:"total_tokens"`
	PromptCacheHitTokens  uint64            `json:"prompt_cache_hit_tokens"`
	PromptCacheMissTokens uint64            `json:"prompt_cache_miss_tokens"`
	PromptDetails         promptDetails     `json:"prompt_tokens_details"`
	CompletionDetails     completionDetails `json:"completion_tokens_details"`
}

type promptDetails struct {
	CachedTokens uint64 `json:"cached_tokens"`
}

type completionDetails struct {
	ReasoningTokens uint64 `json:"reasoning_tokens"`
}

func usageOf(u fathom.Usage) *usage {
	prompt, answer := u.PromptFresh+u.PromptCached, u.ReasoningTokens+u.OutputTokens
	return &usage{
		PromptTokens:          prompt,
		CompletionTokens:      answer,
		TotalTokens:           prompt + answer,
		PromptCacheHitTokens:  u.PromptCached,
		PromptCacheMissTokens: u.PromptFresh,
		PromptDetails:         promptDetails{u.PromptCached},
		CompletionDetails:     completionDetails{u.ReasoningTokens},
	}
}

// finishReason is the protocol's word for why an answer ended.
func finishReason(reason fathom.FinishReason) string {
	switch reason {
	case fathom.FinishEndOfTurn, fathom.FinishStop:
		return "stop"
	case fathom.FinishLength, fathom.FinishDeadline:
		return "length"
	}
	return "insufficient_system_resource" // DeepSeek's: the gateway is shutting down.
}

// An apiError is an answer that failed, in the shape that clients know.
type apiError struct {
	status  int
	Message string        `json:"message"`
	Type    string        `json:"type"`
	Code    string        `json:"code,omitempty"`
	wait    time.Duration // When to try again.
}

func (e *apiError) Error() string { return e.Message }

type errorBody struct {
	Error *apiError `json:"error"`
}
