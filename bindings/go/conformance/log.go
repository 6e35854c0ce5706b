package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"strings"

	"fathom.dev/go"
	"fathom.dev/go/internal/sys"
)

var log = bufio.NewWriter(os.Stdout)

// require ends the program unless what it needs holds: the log would be worthless.
func require(holds bool, what string) {
	if !holds {
		log.Flush()
		panic("wanted: " + what)
	}
}

func ok(err error) {
	if err != nil {
		log.Flush()
		panic(err)
	}
}

func must[T any](value T, err error) T {
	ok(err)
	return value
}

func step(number int, title string) { fmt.Fprintf(log, "== %02d %s\n", number, title) }

func line(name, format string, values ...any) {
	fmt.Fprintf(log, name+": "+format+"\n", values...)
}

func truth(b bool) int {
	if b {
		return 1
	}
	return 0
}

var escaper = strings.NewReplacer("\n", `\n`, `"`, `\"`, `\`, `\\`)

func quoted(text string) string { return `"` + escaper.Replace(text) + `"` }

func listed[T any](ids []T) string {
	return strings.ReplaceAll(fmt.Sprint(ids), " ", ",")
}

// outcome logs what a call of the public API returned; the value is left out.
func outcome(name string, value any, err error) {
	line(name, "%s", statusOf(err))
}

func statusOf(err error) string {
	if err == nil {
		return "FATHOM_OK"
	}
	var failure *fathom.Error
	require(errors.As(err, &failure), "an error of the library: "+err.Error())
	require(failure.Message != "" && errors.Is(err, failure.Status), "a message and its status")
	return failure.Status.Error()
}

// raw logs what a call of the raw layer returned.
func raw(name string, call func(failure *sys.Error) int32) {
	var failure sys.Error
	status := call(&failure)
	require((status == sys.OK) == (failure == 0), "an error if there is one")
	require(sys.ErrorCode(failure) == status, "code and status that agree")
	require((status == sys.OK) == (sys.GoString(sys.ErrorMessage(failure)) == ""), "a message")
	sys.ErrorRelease(failure)
	line(name, "%s", sys.GoString(sys.StatusName(status)))
}

var finishNames = map[fathom.FinishReason]string{
	fathom.FinishEndOfTurn: "END_OF_TURN",
	fathom.FinishLength:    "LENGTH",
	fathom.FinishStop:      "STOP",
	fathom.FinishCancelled: "CANCELLED",
	fathom.FinishDeadline:  "DEADLINE",
	fathom.FinishError:     "ERROR",
}

// milli is a log-probability in thousandths, rounded as in every language.
func milli(logprob float32) int64 { return int64(math.Floor(float64(logprob)*1000 + 0.5)) }

func next(stream *fathom.Stream) fathom.Event {
	return must(stream.Next(context.Background()))
}

func logEvent(event fathom.Event) {
	fmt.Fprintf(log, "%d ", event.Sequence)
	switch event.Type {
	case fathom.EventProgress:
		fmt.Fprintf(log, "PROGRESS %d/%d", event.TokensDone, event.TokensTotal)
	case fathom.EventReasoning:
		fmt.Fprintf(log, "REASONING %s %s", quoted(event.Text), listed(event.IDs))
	case fathom.EventText:
		fmt.Fprintf(log, "TEXT %s %s", quoted(event.Text), listed(event.IDs))
	case fathom.EventLogprobs:
		fmt.Fprint(log, "LOGPROBS")
		for rest := event.Logprobs; len(rest) > 0; {
			fmt.Fprintf(log, " %d@%d=%d", rest[0].Token, rest[0].Position, milli(rest[0].Logprob))
			n := 1 + rest[0].Alternatives
			for _, other := range rest[1:n] {
				require(other.Position == rest[0].Position, "alternatives of one position")
				fmt.Fprintf(log, "/%d=%d", other.Token, milli(other.Logprob))
			}
			rest = rest[n:]
		}
	case fathom.EventDone:
		fmt.Fprintf(log, "DONE %s %s %s", finishNames[event.Finish], nameOf(event.Status),
			listed(event.IDs))
	}
	fmt.Fprintln(log)
}

func nameOf(status fathom.Status) string { return status.Error() }

// logEvents logs all events of a stream.
func logEvents(stream *fathom.Stream) {
	for {
		event := next(stream)
		logEvent(event)
		if event.Type == fathom.EventDone {
			return
		}
	}
}

// logAnswer logs the text of an answer and why it ended.
func logAnswer(name string, stream *fathom.Stream) {
	var text strings.Builder
	for {
		event := next(stream)
		if event.Type == fathom.EventText {
			text.WriteString(event.Text)
		}
		if event.Type == fathom.EventDone {
			line(name, "%s", quoted(text.String()))
			line("finish", "%s", finishNames[event.Finish])
			return
		}
	}
}

// logEnd reads and drops everything, and logs why the stream ended and whether its usage counts the
// ids that were delivered, seen of them before.
func logEnd(name string, stream *fathom.Stream, seen int) {
	event := next(stream)
	for ; event.Type != fathom.EventDone; event = next(stream) {
		seen += len(event.IDs)
	}
	seen += len(event.IDs)
	usage := must(stream.Usage())
	line(name, "%s %s", finishNames[event.Finish], nameOf(event.Status))
	line("usage counts the ids", "%d",
		truth(usage.Finished && usage.ReasoningTokens+usage.OutputTokens == uint64(seen)))
}

func logUsage(stream *fathom.Stream) {
	u := must(stream.Usage())
	line("usage", "finished=%d fresh=%d cached=%d reasoning=%d output=%d", truth(u.Finished),
		u.PromptFresh, u.PromptCached, u.ReasoningTokens, u.OutputTokens)
}

func logSession(name string, session *fathom.Session) {
	d := must(session.Describe())
	line(name, "tokens=%d context=%d running=%d", d.Tokens, d.Context, truth(d.Running))
}
