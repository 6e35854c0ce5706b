package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"testing"
)

// A browser is a headless Chromium, driven by the WebDriver protocol.
type browser struct {
	t       *testing.T
	session string // The URL of its session.
}

// chromiumFlags keep the browser from anything but the page.
var chromiumFlags = []string{"--headless", "--no-sandbox", "--disable-gpu", "--disable-quic",
	"--no-first-run", "--disable-background-networking", "--disable-component-update",
	"--disable-sync", "--disable-dev-shm-usage"}

func newBrowser(t *testing.T) *browser {
	t.Helper()
	driver, err := exec.LookPath("chromedriver")
	if err != nil {
		t.Skip("no chromedriver: install Debian's chromium-driver")
	}
	free, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := free.Addr().String()
	free.Close()
	process := exec.Command(driver, "--port="+address[strings.LastIndex(address, ":")+1:])
	if err := process.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		process.Process.Kill()
		process.Wait()
	})
	eventually(t, "chromedriver answers", func() bool {
		response, err := http.Get("http://" + address + "/status")
		if err != nil {
			return false
		}
		response.Body.Close()
		return true
	})
	b := &browser{t: t, session: "http://" + address + "/session"}
	var created struct{ SessionID string }
	b.call("POST", "", body{"capabilities": body{"alwaysMatch": body{"browserName": "chrome",
		"goog:chromeOptions": body{
			"args": append(chromiumFlags, "--user-data-dir="+t.TempDir())}}}}, &created)
	b.session += "/" + created.SessionID
	t.Cleanup(func() { b.call("DELETE", "", body{}, nil) })
	return b
}

// call makes one call of the protocol.
func (b *browser) call(method, path string, argument, result any) {
	b.t.Helper()
	var text []byte // GET takes none, not even an empty argument.
	if argument != nil {
		var err error
		if text, err = json.Marshal(argument); err != nil {
			b.t.Fatal(err)
		}
	}
	request, err := http.NewRequest(method, b.session+path, bytes.NewReader(text))
	if err != nil {
		b.t.Fatal(err)
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		b.t.Fatal(err)
	}
	defer response.Body.Close()
	all, err := io.ReadAll(response.Body)
	if err != nil {
		b.t.Fatal(err)
	}
	if response.StatusCode != 200 {
		b.t.Fatalf("%s %s: %s", method, path, all)
	}
	if result != nil {
		if err := json.Unmarshal(all, &struct{ Value any }{result}); err != nil {
			b.t.Fatalf("%s %s: %v in %s", method, path, err, all)
		}
	}
}

// run runs a function's body in the page and returns what it returns.
func (b *browser) run(script string, arguments ...any) (result any) {
	b.t.Helper()
	if arguments == nil {
		arguments = []any{}
	}
	b.call("POST", "/execute/sync", body{"script": script, "args": arguments}, &result)
	return result
}

// find returns the path of the element that a CSS selector names.
func (b *browser) find(selector string) string {
	b.t.Helper()
	var element map[string]string
	b.call("POST", "/element", body{"using": "css selector", "value": selector}, &element)
	for _, id := range element {
		return "/element/" + id
	}
	return ""
}

func (b *browser) click(selector string) {
	b.t.Helper()
	b.call("POST", b.find(selector)+"/click", body{}, nil)
}

func (b *browser) write(selector, text string) {
	b.t.Helper()
	b.call("POST", b.find(selector)+"/value", body{"text": text}, nil)
}

func (b *browser) text(selector string) string {
	b.t.Helper()
	return fmt.Sprint(b.run("return document.querySelector(arguments[0])?.textContent ?? ''",
		selector))
}

// ask sends a question and waits until its turn, counted from 1, is done.
func (b *browser) ask(question string, turn int) (selector string) {
	b.t.Helper()
	b.write("#text", question)
	b.click("#send")
	selector = fmt.Sprintf(".turn:nth-of-type(%d)", 2*turn)
	eventually(b.t, "the answer to "+question, func() bool {
		return b.run("return document.querySelector(arguments[0])?.dataset.done", selector) == "true"
	})
	return selector
}

func TestPage(t *testing.T) {
	// Breaks if a person cannot chat: see answer, reasoning and usage, go on, stop, and be told what
	// is wrong.
	s, h := startServer(t, &key{Key: "secret", Name: "a"})
	b := newBrowser(t)
	b.call("POST", "/url", body{"url": h.URL + "/"}, nil)

	if turn := b.ask("What is 1 + 1?", 1); !strings.Contains(b.text(turn+" .error"), "API key") {
		t.Errorf("without a key: %q", b.text(turn))
	}
	b.write("#key", "secret")
	b.click("#thinking")
	turn := b.ask("What is 4812 + 977?", 2)
	if answer := b.text(turn + " .content"); answer != "5789" {
		t.Errorf("answer %q in %q", answer, b.text(turn))
	}
	if reasoning := b.text(turn + " .reasoning"); !strings.Contains(reasoning, "d4c8b1a2") {
		t.Errorf("reasoning %q", reasoning)
	}
	if usage := b.text(turn + " .usage"); !strings.HasPrefix(usage, "18 tokens read, 0 of them") {
		t.Errorf("usage %q", usage)
	}
	// The conversation goes on in the session's cache.
	turn = b.ask("What is 12 + 34?", 3)
	if usage := b.text(turn + " .usage"); strings.Contains(usage, " 0 of them") {
		t.Errorf("the second turn found nothing in the cache: %q", usage)
	}
	// What a model or a person writes is text, whatever it looks like.
	b.click("#thinking")
	b.ask("<img src=x onerror=document.title='broken'>", 4)
	if title := b.run("return document.title"); title != "Fathom" {
		t.Errorf("title %q", title)
	}
	if n := b.run("return document.querySelectorAll('main img').length"); n != 0.0 {
		t.Errorf("%v images", n)
	}
	b.run("document.querySelector('#text').value = 'What is 9 + 9?';" +
		"document.querySelector('#send').click(); document.querySelector('#stop').click();")
	eventually(t, "the answer stops", func() bool {
		return b.text(".turn:nth-of-type(10) .error") == "Stopped."
	})
	if path := os.Getenv("FATHOM_SCREENSHOT"); path != "" {
		var picture []byte
		b.call("GET", "/screenshot", nil, &picture)
		if err := os.WriteFile(path, picture, 0o600); err != nil {
			t.Error(err)
		}
	}
	eventually(t, "nothing is in flight", func() bool { return s.metrics.inFlight.Load() == 0 })
}
