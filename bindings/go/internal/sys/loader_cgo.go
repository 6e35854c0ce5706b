//go:build cgo && !fathom_purego

package sys

// #cgo LDFLAGS: -ldl
// #include <dlfcn.h>
// #include <stdint.h>
// #include <stdlib.h>
//
// void fathomLog(uintptr_t, int32_t, uintptr_t, uint64_t);
// int32_t fathomProgress(uintptr_t, uint64_t, uint64_t);
//
// // dlerror() speaks of the thread's last call, so both happen in one.
// static inline void* fathom_open(const char* path, char** failure) {
//     void* library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
//     *failure = library == NULL ? dlerror() : NULL;
//     return library;
// }
import "C"

import (
	"errors"
	"unsafe"
)

func open(path string) (uintptr, error) {
	name := C.CString(path)
	defer C.free(unsafe.Pointer(name))
	var failure *C.char
	library := C.fathom_open(name, &failure)
	if library == nil {
		return 0, errors.New(C.GoString(failure))
	}
	return uintptr(library), nil
}

func symbol(library uintptr, name string) (uintptr, error) {
	native := C.CString(name)
	defer C.free(unsafe.Pointer(native))
	address := C.dlsym(pointer(library), native)
	if address == nil {
		return 0, errors.New("the library has no function " + name)
	}
	return uintptr(address), nil
}

// LogFunction is the C function for EngineOptions.Log.
func LogFunction() uintptr { return uintptr(unsafe.Pointer(C.fathomLog)) }

// ProgressFunction is the C function for ModelOptions.Progress.
func ProgressFunction() uintptr { return uintptr(unsafe.Pointer(C.fathomProgress)) }

//export fathomLog
func fathomLog(number C.uintptr_t, level C.int32_t, text C.uintptr_t, bytes C.uint64_t) {
	callLog(uintptr(number), int32(level), uintptr(text), uint64(bytes))
}

//export fathomProgress
func fathomProgress(number C.uintptr_t, done, total C.uint64_t) C.int32_t {
	return C.int32_t(callProgress(uintptr(number), uint64(done), uint64(total)))
}
