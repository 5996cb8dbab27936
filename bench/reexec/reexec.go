// This file starts a test's own binary again, as the gateway.

// Package reexec lets the binary of a test be the programs that it tests. Go's test cache
// follows imports: a program that a test builds by itself may change without the test being
// run again. What is started from here is compiled with the test, with its race detector, its
// tags and its overlay.
package reexec

import (
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"sluice/cmd/gateway/cli"
)

var programs map[string]func() int

// Main runs the program under whose name the process was started, and exits with the code that
// it returns. It returns if the process is the test. TestMain calls it first.
//
// It is a name and no variable of the environment, which tests choose for themselves, and which
// a program passes to those that it starts.
func Main(byName map[string]func() int) {
	programs = byName
	if run, ok := programs[strings.TrimSuffix(filepath.Base(os.Args[0]), ".exe")]; ok {
		os.Exit(run())
	}
}

// Gateway is the program gateway.
func Gateway() int {
	return cli.Main(os.Args[1:], os.Environ(), os.Stdout, os.Stderr)
}

// Link returns the file of a program that was passed to Main. The file is a test's own, which
// may replace it.
func Link(t testing.TB, name string) string {
	t.Helper()
	if programs[name] == nil { // it would run the tests, which would start it
		t.Fatalf("no program %q was passed to reexec.Main", name)
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), name)
	if runtime.GOOS == "windows" {
		file += ".exe"
	}
	if os.Link(self, file) == nil {
		return file
	}
	if err := copyFile(file, self); err != nil { // on another file system
		t.Fatal(err)
	}
	return file
}

func copyFile(to, from string) (err error) {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o755)
	if err != nil {
		return err
	}
	if _, err = io.Copy(out, in); err != nil {
		out.Close()
		return err
	}
	return out.Close()
}
