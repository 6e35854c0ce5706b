package fathom

import "fathom.dev/go/internal/sys"

func init() {
	sys.Raw.Engine = func(engine any) sys.Engine { return engine.(*Engine).ptr }
	sys.Raw.Model = func(model any) sys.Model { return model.(*Model).ptr }
	sys.Raw.Session = func(session any) sys.Session { return session.(*Session).ptr }
	sys.Raw.Prompt = func(prompt any) sys.Prompt { return prompt.(*Prompt).ptr }
	sys.Raw.Tokenizer = func(tokenizer any) sys.Tokenizer { return tokenizer.(*Tokenizer).ptr }
	sys.Raw.Stream = func(stream any) sys.Stream { return stream.(*Stream).ptr }
}
