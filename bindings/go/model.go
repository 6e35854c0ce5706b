package fathom

import (
	"context"
	"fmt"
	"runtime"
	"unsafe"

	"fathom.dev/go/internal/sys"
)

// A KVType is the number format of the KV cache.
type KVType int32

// The formats of the KV cache. KVAuto, the default, fits the weights.
const (
	KVAuto KVType = sys.KVAuto
	KVBF16 KVType = sys.KVBF16
	KVF32  KVType = sys.KVF32
)

// ModelOptions are the options of a model. Zero is the default everywhere.
type ModelOptions struct {
	KV      KVType
	Context uint64 // Most tokens in a session; 0: the smaller of 4096 and the checkpoint's.
	Dialect string // A dialect's name, "deepseek-v3.1"; empty: recognised from the folder.

	// Progress, if not nil, is called while the model loads, with bytes read and bytes to read.
	Progress func(done, total uint64)
}

func (o *ModelOptions) sys(pinner *runtime.Pinner, progress uintptr) *sys.ModelOptions {
	options := &sys.ModelOptions{
		StructSize: uint32(unsafe.Sizeof(sys.ModelOptions{})),
		KVType:     int32(o.KV),
		Context:    o.Context,
	}
	options.Dialect, options.DialectBytes = pinText(pinner, o.Dialect)
	if progress != 0 {
		options.Progress, options.ProgressUserData = sys.ProgressFunction(), progress
	}
	return options
}

// pinText returns address and length of a text, which stay right until pinner unpins.
func pinText(pinner *runtime.Pinner, text string) (address uintptr, bytes uint64) {
	if text == "" {
		return 0, 0
	}
	data := unsafe.StringData(text)
	pinner.Pin(data)
	return uintptr(unsafe.Pointer(data)), uint64(len(text))
}

// pinSlice is pinText for what is not text.
func pinSlice[T any](pinner *runtime.Pinner, values []T) (address uintptr, count uint64) {
	if len(values) == 0 {
		return 0, 0
	}
	data := unsafe.SliceData(values)
	pinner.Pin(data)
	return uintptr(unsafe.Pointer(data)), uint64(len(values))
}

func sourceOf(pinner *runtime.Pinner, folder string) *sys.Source {
	source := &sys.Source{StructSize: uint32(unsafe.Sizeof(sys.Source{}))}
	source.Path, source.PathBytes = pinText(pinner, folder)
	return source
}

// A Model is a checkpoint folder loaded into an engine. All methods may be called from any
// goroutine.
type Model struct {
	*handle
	ptr    sys.Model
	manual bool
}

// LoadModel loads a checkpoint folder as it was published: config.json, safetensors,
// tokenizer.json. It blocks; when ctx ends it stops, leaves no trace, and returns an error
// that is ctx.Err() and [ErrCancelled].
func (e *Engine) LoadModel(
	ctx context.Context, folder string, options ModelOptions,
) (*Model, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	progress := sys.RegisterProgress(func(done, total uint64) bool {
		if options.Progress != nil {
			options.Progress(done, total)
		}
		return ctx.Err() == nil
	})
	defer sys.Unregister(progress)
	var pinner runtime.Pinner
	defer pinner.Unpin()
	source, native := sourceOf(&pinner, folder), options.sys(&pinner, progress)
	var ptr sys.Model
	err := e.try(unbounded, func(failure *sys.Error) int32 {
		return sys.ModelLoad(e.ptr, source, native, &ptr, failure)
	})
	if err != nil {
		if ctx.Err() != nil {
			return nil, fmt.Errorf("fathom: load %s: %w (%w)", folder, ctx.Err(), err)
		}
		return nil, err
	}
	m := &Model{ptr: ptr, manual: e.manual}
	m.handle = own(m, func() { sys.ModelRelease(ptr) })
	return m, nil
}

// Close gives the model back. Its memory returns when its last session is closed. Closing twice
// does nothing.
func (m *Model) Close() error {
	m.close()
	return nil
}

// ModelDescription holds facts about a loaded model.
type ModelDescription struct {
	Layers           int32 // Decoder layers, without multi-token-prediction layers.
	RoutedExperts    int32 // Routed experts in a layer; 0: none.
	ActiveExperts    int32 // Routed experts a token uses in a layer.
	HiddenSize       int32 // Width of the residual stream.
	VocabularyRows   int32 // Rows of the head, padding included.
	Heads            int32 // Attention heads.
	KV               KVType
	Context          uint64 // Most tokens in a session.
	Parameters       uint64 // Parameters loaded.
	ActiveParameters uint64 // Parameters that one token uses.
	WeightBytes      uint64
	WorkspaceBytes   uint64 // Activations and scratch.
	KVCacheBytes     uint64
	KVBytesPerToken  uint64
	Fingerprint      uint64 // Hash of config and tensor headers.
	Architecture     string // model_type of config.json.
	Dialect          string // Name of the dialect; "raw" for a base model.
}

// Describe reads facts about the model.
func (m *Model) Describe() (ModelDescription, error) {
	var d sys.ModelDescription
	d.StructSize = uint32(unsafe.Sizeof(d))
	err := m.try(quick, func(failure *sys.Error) int32 {
		return sys.ModelDescribe(m.ptr, &d, failure)
	})
	if err != nil {
		return ModelDescription{}, err
	}
	return ModelDescription{
		Layers:           d.NLayers,
		RoutedExperts:    d.NRoutedExperts,
		ActiveExperts:    d.NActiveExperts,
		HiddenSize:       d.HiddenSize,
		VocabularyRows:   d.VocabularyRows,
		Heads:            d.NHeads,
		KV:               KVType(d.KVType),
		Context:          d.Context,
		Parameters:       d.Parameters,
		ActiveParameters: d.ActiveParameters,
		WeightBytes:      d.WeightBytes,
		WorkspaceBytes:   d.WorkspaceBytes,
		KVCacheBytes:     d.KVCacheBytes,
		KVBytesPerToken:  d.KVBytesPerToken,
		Fingerprint:      d.Fingerprint,
		Architecture:     sys.ArrayString(d.Architecture[:]),
		Dialect:          sys.ArrayString(d.Dialect[:]),
	}, nil
}

// Metadata reads one text fact: a scalar of config.json under its own name ("config.rope_theta"),
// or "dialect", "architecture", "backend". An unknown key is [ErrInvalidArgument].
func (m *Model) Metadata(key string) (string, error) {
	if err := m.acquire(); err != nil {
		return "", err
	}
	defer m.release() // The text belongs to the model.
	var value uintptr
	var bytes uint64
	err := unbounded.try(func(failure *sys.Error) int32 {
		return sys.ModelMetadataGet(m.ptr, cString(key), &value, &bytes, failure)
	})
	if err != nil {
		return "", err
	}
	return string(sys.Bytes(value, bytes)), nil
}

// Tokenizer returns the model's tokenizer, [ErrBadState] if its folder has none.
func (m *Model) Tokenizer() (*Tokenizer, error) {
	var ptr sys.Tokenizer
	err := m.try(quick, func(failure *sys.Error) int32 {
		return sys.ModelTokenizer(m.ptr, &ptr, failure)
	})
	if err != nil {
		return nil, err
	}
	return newTokenizer(ptr), nil
}

// NewPrompt starts a conversation with the model. See [Tokenizer.NewPrompt].
func (m *Model) NewPrompt(options PromptOptions, messages ...Message) (*Prompt, error) {
	tokenizer, err := m.Tokenizer()
	if err != nil {
		return nil, err
	}
	defer tokenizer.Close()
	return tokenizer.NewPrompt(options, messages...)
}

// A MemoryPlan says what loading a checkpoint will take.
type MemoryPlan struct {
	KV               KVType
	WeightBytes      uint64
	WorkspaceBytes   uint64 // Activations and scratch.
	KVCacheBytes     uint64
	TotalBytes       uint64 // The three together.
	KVBytesPerToken  uint64 // KV cache of one token, all layers.
	MHABytesPerToken uint64 // The same if keys and values were cached for each head.
	Context          uint64 // Tokens of one session.
	Parameters       uint64 // Parameters of the model, without layers not loaded.
	ActiveParameters uint64 // Parameters that one token uses.
	FileBytes        uint64 // Bytes of all tensors in the files.
}

// Estimate says what loading a checkpoint folder will take, from its headers alone. With
// [ErrBudget] it returns the plan that does not fit.
func Estimate(folder string, engine EngineOptions, model ModelOptions) (MemoryPlan, error) {
	if err := Load(""); err != nil {
		return MemoryPlan{}, err
	}
	var pinner runtime.Pinner
	defer pinner.Unpin()
	var p sys.MemoryPlan
	p.StructSize = uint32(unsafe.Sizeof(p))
	err := unbounded.try(func(failure *sys.Error) int32 {
		return sys.ModelEstimate(engine.sys(&pinner, 0), sourceOf(&pinner, folder), model.sys(&pinner, 0),
			&p, failure)
	})
	return MemoryPlan{
		KV:               KVType(p.KVType),
		WeightBytes:      p.WeightBytes,
		WorkspaceBytes:   p.WorkspaceBytes,
		KVCacheBytes:     p.KVCacheBytes,
		TotalBytes:       p.TotalBytes,
		KVBytesPerToken:  p.KVBytesPerToken,
		MHABytesPerToken: p.MHABytesPerToken,
		Context:          p.Context,
		Parameters:       p.Parameters,
		ActiveParameters: p.ActiveParameters,
		FileBytes:        p.FileBytes,
	}, err
}

// Inspect returns everything that the headers of a checkpoint folder say, as JSON. For tools.
func Inspect(folder string, engine EngineOptions, model ModelOptions) ([]byte, error) {
	if err := Load(""); err != nil {
		return nil, err
	}
	var pinner runtime.Pinner
	defer pinner.Unpin()
	var buffer sys.Buffer
	err := unbounded.try(func(failure *sys.Error) int32 {
		return sys.ModelInspect(engine.sys(&pinner, 0), sourceOf(&pinner, folder), model.sys(&pinner, 0),
			&buffer, failure)
	})
	if err != nil {
		return nil, err
	}
	defer sys.BufferRelease(buffer)
	var bytes uint64
	data := sys.BufferData(buffer, &bytes)
	return sys.Bytes(data, bytes), nil
}
