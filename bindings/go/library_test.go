package fathom_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"fathom.dev/go"
)

func loadAndPrint() {
	if err := fathom.Load(os.Getenv("FATHOM_TEST_PATH")); err != nil {
		os.Stdout.WriteString(err.Error())
		return
	}
	os.Stdout.WriteString("loaded " + fathom.LibraryPath())
}

func TestLibrarySearch(t *testing.T) {
	// Breaks if the library is taken from elsewhere than documented, or if the error does not help.
	must(fathom.BuildInfo())(t)
	known := fathom.LibraryPath()
	if err := fathom.Load("/another"); err == nil || !strings.Contains(err.Error(), known) {
		t.Errorf("loading a second library: %v", err)
	}
	executable := must(os.Executable())(t)
	load := func(path, variable string) string {
		child := exec.Command(executable)
		child.Env = append(os.Environ(), "FATHOM_TEST_CHILD=1", "FATHOM_TEST_PATH="+path,
			"FATHOM_LIBRARY="+variable)
		return string(must(child.Output())(t))
	}
	for _, c := range []struct{ name, output, wanted string }{
		{"the option wins", load(known, "/wrong"), "loaded " + known},
		{"the variable", load("", known), "loaded " + known},
		{"a wrong option", load("/wrong/a.so", known), "/wrong/a.so"},
		{"a wrong variable", load("", "/wrong/b.so"), "FATHOM_LIBRARY: /wrong/b.so"},
		{"not a library", load("./go.mod", ""), "./go.mod"},
	} {
		if !strings.Contains(c.output, c.wanted) {
			t.Errorf("%s: got %q, wanted %q in it", c.name, c.output, c.wanted)
		}
	}
	folder := t.TempDir()
	copied := filepath.Join(folder, "program")
	if err := os.WriteFile(copied, must(os.ReadFile(executable))(t), 0o700); err != nil {
		t.Fatal(err)
	}
	executable = copied
	if output := load("", ""); !strings.Contains(output, "beside the executable: "+folder) ||
		!strings.Contains(output, "the system's path: libfathom.so.1") {
		t.Errorf("nowhere: got %q", output)
	}
	beside := filepath.Join(folder, "libfathom.so.1")
	if err := os.Symlink(must(filepath.Abs(known))(t), beside); err != nil {
		t.Fatal(err)
	}
	if output := load("", ""); output != "loaded "+beside {
		t.Errorf("beside the executable: got %q", output)
	}
}
