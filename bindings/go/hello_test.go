package fathom_test

import (
	"os"
	"os/exec"
	"strings"
	"testing"
)

func TestHello(t *testing.T) {
	// Breaks if a stranger who does what the README says gets no answer, or has more to type.
	readme := string(must(os.ReadFile("README.md"))(t))
	program := string(must(os.ReadFile("hello/main.go"))(t))
	_, code, _ := strings.Cut(readme, "```go\n")
	code, _, _ = strings.Cut(code, "```")
	if code == "" || !strings.HasSuffix(program, code) {
		t.Error("README.md and hello/main.go differ")
	}
	lines := 0
	for line := range strings.Lines(code) {
		if text := strings.TrimSpace(line); text != "" && text != "}" {
			lines++
		}
	}
	if lines > 15 {
		t.Errorf("%d lines of code, wanted at most 15", lines)
	}
	output := must(exec.Command("go", "run", "./hello", modelFolder(), "What is 12 + 34?").Output())(t)
	if !strings.HasSuffix(string(output), "46") {
		t.Errorf("the answer is %q", output)
	}
}
