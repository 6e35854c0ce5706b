// Conformance walks the script that all bindings have in common and prints its log, which equals
// bindings/conformance/expected.log. Its README has the steps and the formats.
//
// Usage: conformance MODEL FOLDERS
package main

import (
	"context"
	"os"

	"fathom.dev/go"
)

const (
	sum   = "What is 12 + 34?"
	order = "Hello, Dodan Trikin called and asked for 265 of the plastic keyboard. " +
		"We need it on 2027-04-15. Best regards"
)

var modelFolder, folders string

// world is what most steps use.
var world struct {
	engine    *fathom.Engine
	model     *fathom.Model
	tokenizer *fathom.Tokenizer
}

func engineOptions() fathom.EngineOptions {
	return fathom.EngineOptions{Threads: 1, CPU: fathom.CPUScalar, Deterministic: true}
}

func newEngine() *fathom.Engine { return must(fathom.NewEngine(engineOptions())) }

func newModel(engine *fathom.Engine) *fathom.Model {
	return must(engine.LoadModel(context.Background(), modelFolder, fathom.ModelOptions{}))
}

func newSession(model *fathom.Model) *fathom.Session {
	return must(model.NewSession(fathom.SessionOptions{}))
}

// question is a prompt of one user message.
func question(
	tokenizer *fathom.Tokenizer, text string, thinking fathom.Thinking,
) *fathom.Prompt {
	return must(tokenizer.NewPrompt(fathom.PromptOptions{Thinking: thinking},
		fathom.Message{Role: fathom.User, Text: text}))
}

// endless is a stream that ends only if something ends it: nobody reads it, and its queue has no
// room for all of its tokens.
func endless(session *fathom.Session, prompt *fathom.Prompt) *fathom.Stream {
	return must(session.Start(prompt, fathom.GenerateOptions{IgnoreEOS: true}))
}

func main() {
	if len(os.Args) != 3 {
		os.Stderr.WriteString("usage: conformance MODEL FOLDERS\n")
		os.Exit(2)
	}
	modelFolder, folders = os.Args[1], os.Args[2]
	ok(fathom.Load(""))
	for _, step := range []func(){
		stepLibrary, stepStructs, stepDevices, stepTokenizer, stepTokenizerErrors, stepEstimate,
		stepLoadErrors, stepEngineErrors, stepLoad, stepPrompts, stepPromptErrors, stepChat,
		stepTurns, stepStops, stepLogprobs, stepSampling, stepAppend, stepCancel, stepDeadline,
		stepBusy, stepGenerateErrors, leaveWorld, stepManual, stepShutdown, stepParentsFirst,
		stepNothing, stepEngineDevices, stepReleased,
	} {
		step()
	}
	ok(log.Flush())
}

func leaveWorld() {
	world.tokenizer.Close()
	world.model.Close()
	world.engine.Close()
}
