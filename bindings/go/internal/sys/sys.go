// Package sys is the raw layer: the C interface of Fathom, function by function. Its types,
// constants and calls are generated from fathom.h by bindings/generate/go.py; with cgo the calls go
// through C, without it through purego, and either way the library is loaded at run time.
//
// Pointers that the library fills in are uintptr: the garbage collector has no business with them.
// Pointers that it reads are uintptr, too; what they point to must be pinned.
package sys

import (
	"bytes"
	"fmt"
	"sync/atomic"
	"unsafe"
)

var loaded atomic.Bool

// Loaded reports whether Load has succeeded. Nothing else here may be called before.
func Loaded() bool { return loaded.Load() }

// Load opens the shared library and looks up all functions of the header. One caller at a time.
func Load(path string) error {
	library, err := open(path)
	if err != nil {
		return err
	}
	var found [len(names)]uintptr
	for i, name := range names {
		if found[i], err = symbol(library, name); err != nil {
			return err
		}
	}
	functions = found
	if have := ABIVersion(); have>>16 != HeaderABIVersion>>16 || have < HeaderABIVersion {
		return fmt.Errorf("%s: found interface version %d.%d, wanted %d.%d or a later %[4]d.x", path,
			have>>16, have&0xffff, HeaderABIVersion>>16, HeaderABIVersion&0xffff)
	}
	loaded.Store(true)
	return nil
}

// Slice views memory of the library as values of Go.
func Slice[T any](address uintptr, count uint64) []T {
	if count == 0 {
		return nil
	}
	return unsafe.Slice((*T)(pointer(address)), count)
}

// Bytes copies memory of the library.
func Bytes(address uintptr, count uint64) []byte { return bytes.Clone(Slice[byte](address, count)) }

// GoString copies NUL-terminated text of the library.
func GoString(address uintptr) string {
	if address == 0 {
		return ""
	}
	var n uintptr
	for *(*byte)(pointer(address + n)) != 0 {
		n++
	}
	return string(Slice[byte](address, uint64(n)))
}

// ArrayString is the text in an array of a struct, up to its NUL.
func ArrayString(array []byte) string {
	text, _, _ := bytes.Cut(array, []byte{0})
	return string(text)
}

// pointer makes a pointer of an address outside Go's memory, where the rule against that, which vet
// knows, does not apply.
func pointer(address uintptr) unsafe.Pointer { return *(*unsafe.Pointer)(unsafe.Pointer(&address)) }
