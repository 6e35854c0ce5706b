//go:build !cgo || fathom_purego

package sys

import (
	"errors"
	"sync"

	"github.com/ebitengine/purego"
)

func open(path string) (uintptr, error) {
	return purego.Dlopen(path, purego.RTLD_NOW|purego.RTLD_LOCAL)
}

func symbol(library uintptr, name string) (uintptr, error) {
	address, err := purego.Dlsym(library, name)
	if err != nil {
		return 0, errors.New("the library has no function " + name)
	}
	return address, nil
}

// LogFunction is the C function for EngineOptions.Log. There is one, because callbacks of purego
// are never freed.
var LogFunction = sync.OnceValue(func() uintptr {
	return purego.NewCallback(func(number uintptr, level int32, text uintptr, bytes uint64) {
		callLog(number, level, text, bytes)
	})
})

// ProgressFunction is the C function for ModelOptions.Progress.
var ProgressFunction = sync.OnceValue(func() uintptr {
	return purego.NewCallback(func(number uintptr, done, total uint64) uintptr {
		return uintptr(callProgress(number, done, total))
	})
})
