package fathom_test

import (
	"unsafe"

	"github.com/ebitengine/purego"
)

// nativeHeap returns the bytes that malloc has given out, in all of its arenas.
func nativeHeap() int64 {
	libc, err := purego.Dlopen("libc.so.6", purego.RTLD_NOW)
	if err != nil {
		panic(err)
	}
	mallinfo2, err := purego.Dlsym(libc, "mallinfo2")
	if err != nil {
		panic(err)
	}
	// struct mallinfo2 is ten size_t, returned by hidden pointer; uordblks is the eighth and
	// hblkhd, for what has a mapping of its own, the fifth.
	var info [10]uint64
	purego.SyscallN(mallinfo2, uintptr(unsafe.Pointer(&info)))
	return int64(info[7] + info[4])
}
