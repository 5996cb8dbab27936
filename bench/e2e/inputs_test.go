// This file tells Go's test cache which files the tests of this package depend on.

package e2e

import (
	"io/fs"
	"os"
	"path/filepath"
	"sync"
)

var inputs sync.Once

// readInputs opens what is run or read by other programs: the test cache sees what a test
// opens itself. It sees nothing outside the module, hence the symbolic link tree.
func readInputs() {
	for _, dir := range []string{".", "testdata/tree/docs/consumers", "testdata/tree/testdata/formats"} {
		filepath.WalkDir(dir, func(name string, d fs.DirEntry, err error) error {
			switch {
			case err != nil: // a checkout without symbolic links
				return fs.SkipAll
			case d.IsDir() && (d.Name() == "node_modules" || d.Name() == "target" || d.Name() == "__pycache__"):
				return fs.SkipDir
			case d.Type().IsRegular():
				if f, err := os.Open(name); err == nil {
					f.Close()
				}
			}
			return nil
		})
	}
}
