package sys

// Raw reaches the handles inside the objects of package fathom, which fills it in, for the
// conformance program: it makes the calls that the package has no use for.
var Raw struct {
	Engine    func(engine any) Engine
	Model     func(model any) Model
	Session   func(session any) Session
	Prompt    func(prompt any) Prompt
	Tokenizer func(tokenizer any) Tokenizer
	Stream    func(stream any) Stream
}
