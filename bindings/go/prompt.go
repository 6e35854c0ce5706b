package fathom

import (
	"runtime"
	"unsafe"

	"fathom.dev/go/internal/sys"
)

// A Role says who speaks.
type Role int32

// The roles of a conversation.
const (
	System    Role = sys.RoleSystem    // Instructions from the operator.
	User      Role = sys.RoleUser      // What the person or program asks.
	Assistant Role = sys.RoleAssistant // What the model answered earlier.
	Tool      Role = sys.RoleTool      // Result of a tool call.
)

// A Message is one turn of a conversation.
type Message struct {
	Role      Role
	Text      string // What was said. Never parsed for control tokens.
	Reasoning string // Assistant only: reasoning before the text.
}

// Thinking says whether an answer begins with reasoning, where the dialect can.
type Thinking int32

// The ways to begin an answer. ThinkingAuto, the default, is the dialect's own.
const (
	ThinkingAuto Thinking = sys.ThinkingAuto
	ThinkingOn   Thinking = sys.ThinkingOn
	ThinkingOff  Thinking = sys.ThinkingOff
)

// PromptOptions are the options of a prompt. Zero is the default everywhere.
type PromptOptions struct {
	Thinking     Thinking
	NoGeneration bool   // Do not open the assistant's turn at the end.
	Dialect      string // Name of a dialect; empty: as recognised from the folder.
}

// A Prompt is a conversation under construction. One goroutine may use it at a time; another one
// gets [ErrBusy].
type Prompt struct {
	*handle
	ptr sys.Prompt
}

// NewPrompt starts a conversation with the messages given.
func (t *Tokenizer) NewPrompt(options PromptOptions, messages ...Message) (*Prompt, error) {
	if err := t.acquire(); err != nil {
		return nil, err
	}
	defer t.release()
	p, err := newPrompt(t.ptr, options)
	if err != nil {
		return nil, err
	}
	for _, message := range messages {
		if err := p.Add(message); err != nil {
			p.Close()
			return nil, err
		}
	}
	return p, nil
}

// NewRawPrompt starts a prompt that takes only token ids, for a model without a tokenizer.
func NewRawPrompt() (*Prompt, error) {
	if err := Load(""); err != nil {
		return nil, err
	}
	return newPrompt(0, PromptOptions{})
}

func newPrompt(tokenizer sys.Tokenizer, options PromptOptions) (*Prompt, error) {
	var pinner runtime.Pinner
	defer pinner.Unpin()
	native := &sys.PromptOptions{
		StructSize:   uint32(unsafe.Sizeof(sys.PromptOptions{})),
		Thinking:     int32(options.Thinking),
		NoGeneration: truth(options.NoGeneration),
	}
	native.Dialect, native.DialectBytes = pinText(&pinner, options.Dialect)
	var ptr sys.Prompt
	err := quick.try(func(failure *sys.Error) int32 {
		return sys.PromptCreate(tokenizer, native, &ptr, failure)
	})
	if err != nil {
		return nil, err
	}
	p := &Prompt{ptr: ptr}
	p.handle = own(p, func() { quick.do(func() { sys.PromptRelease(ptr) }) })
	return p, nil
}

// Close gives the prompt back. Closing twice does nothing.
func (p *Prompt) Close() error {
	p.close()
	return nil
}

// Add adds one turn.
func (p *Prompt) Add(message Message) error {
	var pinner runtime.Pinner
	defer pinner.Unpin()
	native := &sys.Message{
		StructSize: uint32(unsafe.Sizeof(sys.Message{})),
		Role:       int32(message.Role),
	}
	native.Text, native.TextBytes = pinText(&pinner, message.Text)
	native.Reasoning, native.ReasoningBytes = pinText(&pinner, message.Reasoning)
	return p.try(slow, func(failure *sys.Error) int32 {
		return sys.PromptAddMessage(p.ptr, native, failure)
	})
}

// AddTokens adds exact token ids: replay, raw continuation. Not mixed with messages.
func (p *Prompt) AddTokens(ids ...int32) error {
	return p.try(slow, func(failure *sys.Error) int32 {
		return sys.PromptAddTokens(p.ptr, unsafe.SliceData(ids), uint64(len(ids)), failure)
	})
}

// AddOpenAI adds a whole conversation in the shape of OpenAI's messages array. All of its content
// is treated as untrusted.
func (p *Prompt) AddOpenAI(messages []byte) error {
	return p.try(slow, func(failure *sys.Error) int32 {
		return sys.PromptAddOpenAIJSON(p.ptr, unsafe.SliceData(messages), uint64(len(messages)),
			failure)
	})
}

// Render returns the exact ids that the model would see.
func (p *Prompt) Render() ([]int32, error) {
	return fill(p.handle, func(ids *int32, room uint64, count *uint64, failure *sys.Error) int32 {
		return sys.PromptRender(p.ptr, ids, room, count, failure)
	})
}
