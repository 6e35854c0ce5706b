// Package fathom runs DeepSeek-class language models inside a Go program.
//
// An [Engine] owns threads, memory and the schedule; a [Model] is a checkpoint folder loaded into
// it; a [Prompt] is a conversation under construction, which never lets text become a control
// token; a [Session] is a conversation's place in the KV cache; [Session.Generate] ranges over the
// events of an answer, and a [Stream] is the same for those who want to hold it in their hands.
//
// The shared library libfathom.so.1 is loaded at run time, see [Load]. A build with cgo calls it
// through C and one without through purego; both behave alike, on Linux alone.
//
// All objects are closed by Close, in any order and as often as one likes: a child keeps its
// parents alive. Methods of a closed object return [ErrClosed].
package fathom
