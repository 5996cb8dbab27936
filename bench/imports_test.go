// This file tests which packages of the project a package may import.

package bench

import (
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// The contracts of sinks and stores know nothing of the engine, nor do the sinks and stores: who
// writes one needs neither its sockets nor its parser. Tests may.
func TestImports(t *testing.T) {
	for folder, allowed := range map[string][]string{
		"sinks":    {"sinks", "wire", "internal"},
		"resume":   {"resume", "sinks", "wire", "internal"},
		"internal": {"internal"},
		"wire":     {"wire", "internal"},
		"pool":     {},
	} {
		files := 0
		err := filepath.WalkDir(filepath.Join("..", folder), func(path string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") || strings.Contains(path, "testdata") {
				return err
			}
			files++
			f, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.ImportsOnly)
			if err != nil {
				return err
			}
			own, contract := filepath.ToSlash(filepath.Dir(path)), allowed
			if own == "../sinks" {
				contract = nil // it is what all others import
			}
			for _, i := range f.Imports {
				name, err := strconv.Unquote(i.Path.Value)
				if err != nil {
					return err
				}
				if rest, ours := strings.CutPrefix(name, "sluice/"); ours {
					if top, _, _ := strings.Cut(rest, "/"); !slices.Contains(contract, top) {
						t.Errorf("%s imports %s", path, name)
					}
				}
			}
			return nil
		})
		if err != nil || files == 0 {
			t.Errorf("%s: %d files, %v", folder, files, err)
		}
	}
}
