// This file fetches what programs in other languages need, once for all tests.

package e2e

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
)

// needs leaves a test out where programs are missing, which CI does not let pass.
func needs(t *testing.T, programs ...string) {
	t.Helper()
	for _, name := range programs {
		if _, err := exec.LookPath(name); err != nil {
			t.Skipf("%s is not here", name)
		}
	}
}

// install runs a program that fetches what a test needs.
func install(t *testing.T, name string, args ...string) {
	t.Helper()
	needs(t, name)
	if err := output(exec.CommandContext(t.Context(), name, args...)); err != nil {
		t.Fatal(err)
	}
}

// output runs a program, whose output is in the error.
func output(cmd *exec.Cmd) error {
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%s: %w\n%s", strings.Join(cmd.Args, " "), err, out)
	}
	return nil
}

// installations are the folders that once has made.
var installations struct {
	sync.Mutex
	root    string // of all; empty: there are none
	folders map[string]func() (string, error)
}

// once returns the folder of this name, which the first test that asks for it has filled. Nobody
// changes it after that.
func once(t *testing.T, name string, fill func(dir string) error) string {
	t.Helper()
	in := &installations
	in.Lock()
	if in.folders == nil {
		in.folders = make(map[string]func() (string, error))
	}
	folder := in.folders[name]
	if folder == nil {
		number := strconv.Itoa(len(in.folders))
		folder = sync.OnceValues(func() (string, error) {
			in.Lock()
			var err error
			if in.root == "" {
				in.root, err = os.MkdirTemp("", "e2e")
			}
			dir := filepath.Join(in.root, number)
			in.Unlock()
			if err == nil {
				err = os.Mkdir(dir, 0o700)
			}
			if err == nil {
				err = fill(dir)
			}
			return dir, err
		})
		in.folders[name] = folder
	}
	in.Unlock()
	dir, err := folder()
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

// removeInstallations removes what once has made.
func removeInstallations() {
	if installations.root != "" {
		os.RemoveAll(installations.root)
	}
}

// installNode returns a folder with the programs of another, and what they need from npm.
func installNode(t *testing.T, folder string, programs ...string) string {
	t.Helper()
	needs(t, "node", "npm")
	inputs.Do(readInputs)
	return once(t, strings.Join(append([]string{folder}, programs...), " "), func(dir string) error {
		for _, name := range append([]string{"package.json", "package-lock.json"}, programs...) {
			b, err := os.ReadFile(filepath.Join(folder, name))
			if err == nil {
				err = os.WriteFile(filepath.Join(dir, name), b, 0o600)
			}
			if err != nil {
				return err
			}
		}
		cmd := exec.Command("npm", "ci", "--no-audit", "--no-fund", "--ignore-scripts", "--engine-strict", "--prefer-offline")
		cmd.Dir = dir
		return output(cmd)
	})
}
