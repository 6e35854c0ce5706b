package fathom

import (
	"runtime"
	"unsafe"

	"fathom.dev/go/internal/sys"
)

// A Tokenizer turns text into token ids and back. All methods may be called from any goroutine.
type Tokenizer struct {
	*handle
	ptr sys.Tokenizer
}

// OpenTokenizer opens the tokenizer of a folder without any weights.
func OpenTokenizer(folder string) (*Tokenizer, error) {
	if err := Load(""); err != nil {
		return nil, err
	}
	var pinner runtime.Pinner
	defer pinner.Unpin()
	var ptr sys.Tokenizer
	err := unbounded.try(func(failure *sys.Error) int32 {
		return sys.TokenizerOpen(sourceOf(&pinner, folder), &ptr, failure)
	})
	if err != nil {
		return nil, err
	}
	return newTokenizer(ptr), nil
}

func newTokenizer(ptr sys.Tokenizer) *Tokenizer {
	t := &Tokenizer{ptr: ptr}
	t.handle = own(t, func() { quick.do(func() { sys.TokenizerRelease(ptr) }) })
	return t
}

// Close gives the tokenizer back. Closing twice does nothing.
func (t *Tokenizer) Close() error {
	t.close()
	return nil
}

// EncodeFlags change how text becomes ids.
type EncodeFlags uint32

// The flags of Encode.
const (
	// EncodeSpecial makes added tokens of their spellings. Only for text that you trust.
	EncodeSpecial EncodeFlags = sys.EncodeSpecial
	// EncodeBOS puts the beginning-of-sentence token first.
	EncodeBOS EncodeFlags = sys.EncodeBOS
)

// Encode turns text into ids. Without [EncodeSpecial] no text whatsoever yields an added token.
func (t *Tokenizer) Encode(text string, flags EncodeFlags) ([]int32, error) {
	data, bytes := unsafe.StringData(text), uint64(len(text))
	return fill(t.handle, func(ids *int32, room uint64, count *uint64, failure *sys.Error) int32 {
		return sys.TokenizerEncode(t.ptr, data, bytes, uint32(flags), ids, room, count, failure)
	})
}

// DecodeFlags change how ids become text.
type DecodeFlags uint32

// DecodeSkipSpecial leaves out tokens that the tokenizer marks as special.
const DecodeSkipSpecial DecodeFlags = sys.DecodeSkipSpecial

// Decode turns ids into bytes, exactly; a token may hold part of a character.
func (t *Tokenizer) Decode(ids []int32, flags DecodeFlags) ([]byte, error) {
	data, n := unsafe.SliceData(ids), uint64(len(ids))
	return fill(t.handle, func(text *byte, room uint64, count *uint64, failure *sys.Error) int32 {
		return sys.TokenizerDecode(t.ptr, data, n, uint32(flags), text, room, count, failure)
	})
}

// fill asks a function of the library for its count, then for so many values.
func fill[T any](
	h *handle, call func(values *T, room uint64, count *uint64, failure *sys.Error) int32,
) ([]T, error) {
	var count uint64
	err := h.try(slow, func(failure *sys.Error) int32 { return call(nil, 0, &count, failure) })
	if err != nil || count == 0 {
		return nil, err
	}
	values := make([]T, count)
	err = h.try(slow, func(failure *sys.Error) int32 {
		return call(&values[0], uint64(len(values)), &count, failure)
	})
	if err != nil {
		return nil, err
	}
	return values[:count], nil
}

// TokenizerDescription holds facts about a tokenizer. An id that does not exist is -1.
type TokenizerDescription struct {
	Tokens      int32  // Ids are 0 to Tokens - 1.
	BOS         int32  // Beginning of sentence.
	EOS         int32  // End of sentence.
	Pad         int32  // Padding.
	AddsBOS     bool   // Prompts of this tokenizer begin with BOS.
	Fingerprint uint64 // Hash of the tokenizer's file.
	Dialect     string // Dialect recognised from the folder; "raw" when none.
}

// Describe reads facts about the tokenizer.
func (t *Tokenizer) Describe() (TokenizerDescription, error) {
	var d sys.TokenizerDescription
	d.StructSize = uint32(unsafe.Sizeof(d))
	err := t.try(quick, func(failure *sys.Error) int32 {
		return sys.TokenizerDescribe(t.ptr, &d, failure)
	})
	if err != nil {
		return TokenizerDescription{}, err
	}
	return TokenizerDescription{
		Tokens:      d.NTokens,
		BOS:         d.BOSID,
		EOS:         d.EOSID,
		Pad:         d.PadID,
		AddsBOS:     d.AddsBOS != 0,
		Fingerprint: d.Fingerprint,
		Dialect:     sys.ArrayString(d.Dialect[:]),
	}, nil
}
