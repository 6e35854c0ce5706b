package fathom_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"time"

	"fathom.dev/go"
)

func Example() {
	engine, err := fathom.NewEngine(fathom.EngineOptions{})
	if err != nil {
		log.Fatal(err)
	}
	defer engine.Close()
	model, err := engine.LoadModel(context.Background(), modelFolder(), fathom.ModelOptions{})
	if err != nil {
		log.Fatal(err)
	}
	defer model.Close()
	session, err := model.NewSession(fathom.SessionOptions{})
	if err != nil {
		log.Fatal(err)
	}
	defer session.Close()
	prompt, err := model.NewPrompt(fathom.PromptOptions{Thinking: fathom.ThinkingOn},
		fathom.Message{Role: fathom.User, Text: "What is 4812 + 977?"})
	if err != nil {
		log.Fatal(err)
	}
	defer prompt.Close()

	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	for event, err := range session.Generate(ctx, prompt, fathom.GenerateOptions{}) {
		if errors.Is(err, fathom.ErrContextFull) {
			log.Fatal("that was too long a question")
		} else if err != nil {
			log.Fatal(err)
		}
		if event.Type == fathom.EventText {
			fmt.Print(event.Text)
		}
	}
	// Output: 5789
}
