package fathom

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"unsafe"

	"fathom.dev/go/internal/sys"
)

// LibraryVariable names the environment variable that says where the shared library is.
const LibraryVariable = "FATHOM_LIBRARY"

const libraryName = "libfathom.so.1"

var library struct {
	sync.Mutex
	path string
}

// Load loads the shared library; all else in this package does so by itself, with an empty path.
// An empty path looks in the file that FATHOM_LIBRARY names, and nowhere else if it is set; then
// beside the executable and in the lib folder next to its own; then where the system looks. The
// error says where it looked and what it found there.
//
// A process has one library: loading a second one from another path fails.
func Load(path string) error {
	library.Lock()
	defer library.Unlock()
	if sys.Loaded() {
		if path != "" && path != library.path {
			return fmt.Errorf("fathom: load %s: %s is loaded already", path, library.path)
		}
		return nil
	}
	var failures []error
	for _, place := range places(path) {
		err := sys.Load(place.path)
		if err == nil {
			library.path = place.path
			return nil
		}
		failures = append(failures, fmt.Errorf("%s: %w", place.why, err))
	}
	return fmt.Errorf("fathom: the shared library was not found; looked at:\n%w",
		errors.Join(failures...))
}

// LibraryPath says from where the library was loaded; empty before.
func LibraryPath() string {
	library.Lock()
	defer library.Unlock()
	return library.path
}

type place struct{ path, why string }

func places(path string) []place {
	if path != "" {
		return []place{{path, "the path given to Load"}}
	}
	if path := os.Getenv(LibraryVariable); path != "" {
		return []place{{path, "the environment variable " + LibraryVariable}}
	}
	var found []place
	if executable, err := os.Executable(); err == nil {
		folder := filepath.Dir(executable)
		found = append(found,
			place{filepath.Join(folder, libraryName), "beside the executable"},
			place{filepath.Join(folder, "..", "lib", libraryName), "in lib beside its folder"})
	}
	return append(found, place{libraryName, "the system's path"})
}

// BuildInfo returns what the library was built from and with, as one line of JSON.
func BuildInfo() (string, error) {
	if err := Load(""); err != nil {
		return "", err
	}
	return sys.GoString(sys.BuildInfoJSON()), nil
}

// Supports asks the library for a capability by name: "arch.deepseek_v3", "dialect.deepseek-v3.1",
// "backend.cpu".
func Supports(feature string) (bool, error) {
	if err := Load(""); err != nil {
		return false, err
	}
	return !strings.Contains(feature, "\x00") && sys.FeatureSupported(cString(feature)) == 1, nil
}

// A Device is a processor that an engine can use.
type Device struct {
	Kind            DeviceKind
	Index           int    // Number within its kind, from 0.
	Processors      int    // Processors that this process may use.
	MemoryTotal     uint64 // Bytes.
	MemoryAvailable uint64 // Bytes free for new work, as the system reports it.
	Name            string // For people.
	Level           string // Best instruction set, "avx512_bf16" for instance.
}

// A DeviceKind tells processors from other devices.
type DeviceKind int32

// The kinds of devices.
const (
	DeviceCPU  DeviceKind = sys.DeviceCPU  // A processor of this machine.
	DeviceCUDA DeviceKind = sys.DeviceCUDA // An NVIDIA GPU.
)

// Devices lists the devices of this machine.
func Devices() ([]Device, error) {
	if err := Load(""); err != nil {
		return nil, err
	}
	var count uint32
	err := unbounded.try(func(failure *sys.Error) int32 {
		return sys.DevicesQuery(nil, &count, failure)
	})
	if err != nil || count == 0 {
		return nil, err
	}
	infos := make([]sys.DeviceInfo, count)
	infos[0].StructSize = uint32(unsafe.Sizeof(infos[0]))
	err = unbounded.try(func(failure *sys.Error) int32 {
		return sys.DevicesQuery(&infos[0], &count, failure)
	})
	if err != nil {
		return nil, err
	}
	devices := make([]Device, count)
	for i, info := range infos[:count] {
		devices[i] = Device{
			Kind:            DeviceKind(info.Kind),
			Index:           int(info.Index),
			Processors:      int(info.NProcessors),
			MemoryTotal:     info.MemoryTotal,
			MemoryAvailable: info.MemoryAvailable,
			Name:            sys.ArrayString(info.Name[:]),
			Level:           sys.ArrayString(info.Level[:]),
		}
	}
	return devices, nil
}

// cString returns a pointer to the text with a NUL behind it.
func cString(text string) *byte { return &append([]byte(text), 0)[0] }
