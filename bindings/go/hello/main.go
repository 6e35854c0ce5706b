// Hello prints a model's answer to a question as it comes: hello FOLDER QUESTION
package main

import (
	"context"
	"fmt"
	"log"
	"os"

	"fathom.dev/go"
)

func main() {
	ctx := context.Background()
	engine := must(fathom.NewEngine(fathom.EngineOptions{}))
	model := must(engine.LoadModel(ctx, os.Args[1], fathom.ModelOptions{}))
	prompt := must(model.NewPrompt(fathom.PromptOptions{Thinking: fathom.ThinkingOn},
		fathom.Message{Role: fathom.User, Text: os.Args[2]}))
	session := must(model.NewSession(fathom.SessionOptions{}))
	for event, err := range session.Generate(ctx, prompt, fathom.GenerateOptions{}) {
		fmt.Print(must(event, err).Text)
	}
}

func must[T any](value T, err error) T {
	if err != nil {
		log.Fatal(err)
	}
	return value
}
