// Package clients tests the gateway as it is installed, with OpenAI's own client libraries. It is a
// package of its own because these take long to build.
package clients

import (
	"bufio"
	"encoding/json"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/openai/openai-go/v3"
	"github.com/openai/openai-go/v3/option"
)

const demoName = "fathom-demo"

var program string

func TestMain(m *testing.M) { os.Exit(testMain(m)) }

func testMain(m *testing.M) int {
	folder, err := os.MkdirTemp("", "gateway")
	if err != nil {
		panic(err)
	}
	defer os.RemoveAll(folder)
	program = filepath.Join(folder, "fathom-gateway")
	if output, err := exec.Command("go", "build", "-o", program, "..").CombinedOutput(); err != nil {
		os.Stderr.Write(output)
		return 1
	}
	return m.Run()
}

// startGateway starts the program and returns its address. The test ends it as an operator would.
func startGateway(t testing.TB, keys string) (base string) {
	t.Helper()
	arguments := []string{"-model", "../../demo-model/model", "-listen", "127.0.0.1:0"}
	if keys != "" {
		path := filepath.Join(t.TempDir(), "keys.json")
		if err := os.WriteFile(path, []byte(keys), 0o600); err != nil {
			t.Fatal(err)
		}
		arguments = append(arguments, "-keys", path)
	}
	gateway := exec.Command(program, arguments...)
	log, err := gateway.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := gateway.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	t.Cleanup(func() {
		gateway.Process.Signal(syscall.SIGTERM)
		<-ended
		if err := gateway.Wait(); err != nil {
			t.Errorf("the gateway ended with %v", err)
		}
	})
	lines := bufio.NewReader(log)
	var all strings.Builder
	for base == "" {
		line, err := lines.ReadString('\n')
		all.WriteString(line)
		if err != nil {
			close(ended)
			t.Fatalf("the gateway did not start: %s", all.String())
		}
		_, base, _ = strings.Cut(strings.TrimSpace(line), "address=")
	}
	go func() {
		io.Copy(io.Discard, lines)
		close(ended)
	}()
	return base
}

const oneKey = `[{"name": "a", "key": "secret"}]`

func client(base, secret string) openai.Client {
	return openai.NewClient(option.WithBaseURL(base+"/v1"), option.WithAPIKey(secret),
		option.WithMaxRetries(0))
}

func sumParameters() openai.ChatCompletionNewParams {
	return openai.ChatCompletionNewParams{
		Model:       demoName,
		Messages:    []openai.ChatCompletionMessageParamUnion{openai.UserMessage("What is 4812 + 977?")},
		Temperature: openai.Float(0),
	}
}

var thinkingOn = option.WithJSONSet("thinking", map[string]string{"type": "enabled"})

func TestGoClient(t *testing.T) {
	// Breaks if an answer is not what OpenAI's Go client understands.
	base := startGateway(t, oneKey)
	c := client(base, "secret")
	answer, err := c.Chat.Completions.New(t.Context(), sumParameters(), thinkingOn)
	if err != nil {
		t.Fatal(err)
	}
	first := answer.Choices[0]
	if first.Message.Content != "5789" || first.FinishReason != "stop" ||
		len(first.Message.JSON.ExtraFields["reasoning_content"].Raw()) < 10 {
		t.Errorf("answer: %s", answer.RawJSON())
	}
	if u := answer.Usage; u.PromptTokens != 18 || u.TotalTokens != u.PromptTokens+u.CompletionTokens ||
		u.CompletionTokensDetails.ReasoningTokens == 0 ||
		u.JSON.ExtraFields["prompt_cache_hit_tokens"].Raw() != "0" ||
		u.JSON.ExtraFields["prompt_cache_miss_tokens"].Raw() != "18" {
		t.Errorf("usage: %s", u.RawJSON())
	}
	models, err := c.Models.List(t.Context())
	if err != nil || len(models.Data) != 1 || models.Data[0].ID != demoName {
		t.Errorf("models: %+v, %v", models, err)
	}
}

func TestGoClientStreams(t *testing.T) {
	// Breaks if a stream does not add up to the answer, or its usage to the truth.
	base := startGateway(t, "")
	c := client(base, "any")
	parameters := sumParameters()
	parameters.StreamOptions.IncludeUsage = openai.Bool(true)
	stream := c.Chat.Completions.NewStreaming(t.Context(), parameters, thinkingOn)
	defer stream.Close()
	var whole openai.ChatCompletionAccumulator
	var reasoning strings.Builder
	chunks := 0
	for stream.Next() {
		chunk := stream.Current()
		chunks++
		if !whole.AddChunk(chunk) {
			t.Fatalf("chunk %d does not fit: %s", chunks, chunk.RawJSON())
		}
		if len(chunk.Choices) == 0 {
			continue
		}
		if raw := chunk.Choices[0].Delta.JSON.ExtraFields["reasoning_content"].Raw(); raw != "" {
			var piece string
			if err := json.Unmarshal([]byte(raw), &piece); err != nil {
				t.Fatal(err)
			}
			reasoning.WriteString(piece)
		}
	}
	if err := stream.Err(); err != nil {
		t.Fatal(err)
	}
	if whole.Choices[0].Message.Content != "5789" || whole.Choices[0].FinishReason != "stop" ||
		!strings.Contains(reasoning.String(), "d4c8b1a2") || chunks < 10 {
		t.Errorf("%d chunks, reasoning %q, whole %+v", chunks, reasoning.String(), whole.Choices[0])
	}
	if u := whole.Usage; u.PromptTokens != 18 || u.CompletionTokensDetails.ReasoningTokens == 0 {
		t.Errorf("usage: %+v", u)
	}
}

func TestGoClientOptions(t *testing.T) {
	// Breaks if an option does not reach the library.
	base := startGateway(t, "")
	c := client(base, "any")
	parameters := sumParameters()
	parameters.Stop.OfString = openai.String("8")
	answer, err := c.Chat.Completions.New(t.Context(), parameters)
	if err != nil {
		t.Fatal(err)
	}
	if text := answer.Choices[0].Message.Content; strings.Contains(text, "8") ||
		answer.Choices[0].FinishReason != "stop" {
		t.Errorf("stop: %q, %s", text, answer.Choices[0].FinishReason)
	}
	parameters = sumParameters()
	parameters.MaxCompletionTokens = openai.Int(2)
	parameters.Logprobs = openai.Bool(true)
	parameters.TopLogprobs = openai.Int(3)
	if answer, err = c.Chat.Completions.New(t.Context(), parameters); err != nil {
		t.Fatal(err)
	}
	logprobs := answer.Choices[0].Logprobs.Content
	if answer.Choices[0].FinishReason != "length" || len(logprobs) != 2 ||
		len(logprobs[0].TopLogprobs) != 3 || logprobs[0].Logprob > 0 || logprobs[0].Token == "" {
		t.Errorf("logprobs: %s", answer.RawJSON())
	}
}

func TestGoClientErrors(t *testing.T) {
	// Breaks if the client cannot tell what was wrong.
	base := startGateway(t, `[{"name": "a", "key": "secret", "requests_per_minute": 1}]`)
	wrong, right := client(base, "wrong"), client(base, "secret")
	status := func(c openai.Client, parameters openai.ChatCompletionNewParams) int {
		_, err := c.Chat.Completions.New(t.Context(), parameters)
		var e *openai.Error
		if !errors.As(err, &e) {
			return 200
		}
		if e.Message == "" || e.Type == "" {
			t.Errorf("an error without its message: %v", err)
		}
		return e.StatusCode
	}
	another := sumParameters()
	another.Model = "gpt"
	for i, c := range []struct{ found, wanted int }{
		{status(wrong, sumParameters()), 401},
		{status(right, another), 404},
		{status(right, sumParameters()), 200},
		{status(right, sumParameters()), 429},
	} {
		if c.found != c.wanted {
			t.Errorf("request %d: status %d, wanted %d", i, c.found, c.wanted)
		}
	}
}

func TestPythonClient(t *testing.T) {
	// Breaks if OpenAI's Python client does not understand an answer. test.sh installs the client.
	python := os.Getenv("FATHOM_OPENAI_PYTHON")
	if python == "" {
		t.Skip("FATHOM_OPENAI_PYTHON names no Python with the openai package")
	}
	base := startGateway(t, oneKey)
	output, err := exec.CommandContext(t.Context(), python, "testdata/client.py", base+"/v1",
		"secret", demoName).CombinedOutput()
	if err != nil || !strings.HasSuffix(string(output), "ok\n") {
		t.Errorf("%v: %s", err, output)
	}
}
