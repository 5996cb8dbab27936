// This file holds the map in CONTRIBUTING.md, and the rules of who imports what, against the
// code.

package bench

import (
	"errors"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	slashpath "path"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// topLevel are the folders that the repository has.
var topLevel = []string{"bench", "cmd", "deploy", "docs", "engine", "fleet", "internal", "pool", "resume", "sinks", "testdata", "wire"}

func TestTopLevel(t *testing.T) {
	entries, err := os.ReadDir("..")
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if e.IsDir() && !strings.HasPrefix(e.Name(), ".") && e.Name() != "bin" && e.Name() != "dist" && !slices.Contains(topLevel, e.Name()) {
			t.Errorf("%s is a folder that the repository does not have: what is in it belongs below another", e.Name())
		}
	}
}

// A test that starts a gateway gives it a state directory, or it leaves one beside the code.
func TestNoState(t *testing.T) {
	err := filepath.WalkDir("..", func(path string, d fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) { // what another test has removed meanwhile
			return nil
		}
		if err == nil && d.Name() == "control.lock" && filepath.Dir(path) != filepath.Join("..", "state") {
			t.Errorf("%s was left by a gateway without shard_store.directory", path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

// What is below the first may not import what is below the second, also by way of others.
var forbidden = [][2]string{
	{"sinks", "engine"},
	{"resume", "engine"},
	{"wire", "pool"},
	{"pool", "wire"},
	{"engine", "cmd"},
	{"engine", "sinks/"}, // the contract alone
	{"engine", "resume/"},
	{"fleet", "engine"},
}

func TestImports(t *testing.T) {
	imports := projectImports(t)
	if got := imports["sinks"]; len(got) > 0 {
		t.Errorf("sinks, the contract, imports %q; it imports nothing of the project", got)
	}
	var reach func(from string, seen map[string]bool)
	reach = func(from string, seen map[string]bool) {
		for _, to := range imports[from] {
			if !seen[to] {
				seen[to] = true
				reach(to, seen)
			}
		}
	}
	for from := range imports {
		seen := make(map[string]bool)
		reach(from, seen)
		for to := range seen {
			for _, rule := range forbidden {
				if below(from, rule[0]) && below(to, rule[1]) {
					t.Errorf("%s imports %s, if not by itself", from, to)
				}
			}
		}
	}
}

// Each package is in the map, and imports of the project only what the map says.
func TestMap(t *testing.T) {
	text, err := os.ReadFile("../CONTRIBUTING.md")
	if err != nil {
		t.Fatal(err)
	}
	rows := make(map[string]string) // imports by folder
	for _, m := range regexp.MustCompile("(?m)^\\| `([a-z0-9/-]+)` \\|.*\\| ([^|]*) \\|$").FindAllStringSubmatch(string(text), -1) {
		rows[m[1]] = m[2]
		if _, err := os.Stat(filepath.Join("..", m[1])); err != nil {
			t.Errorf("the map has %s: %v", m[1], err)
		}
	}
	for folder, imports := range projectImports(t) {
		row := folder
		for rows[row] == "" && row != "." {
			row = slashpath.Dir(row)
		}
		if row == "." {
			t.Errorf("the map has no row for %s", folder)
			continue
		}
		if rows[row] == "everything" {
			continue
		}
		for _, imported := range imports {
			if below(imported, row) { // of the same row
				continue
			}
			if !slices.ContainsFunc(regexp.MustCompile("`([^`]+)`").FindAllStringSubmatch(rows[row], -1), func(m []string) bool { return below(imported, m[1]) }) {
				t.Errorf("%s imports %s; the map's row %s allows %s", folder, imported, row, rows[row])
			}
		}
	}
}

// below reports whether folder is of, or in it; or strictly in it, if of ends with a slash.
func below(folder, of string) bool {
	return folder == of || strings.HasPrefix(folder, strings.TrimSuffix(of, "/")+"/")
}

// projectImports returns what the packages of the main module import of it, tests left out.
func projectImports(t *testing.T) map[string][]string {
	imports := make(map[string][]string)
	err := filepath.WalkDir("..", func(file string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name := d.Name()
		if d.IsDir() {
			if _, err := os.Stat(filepath.Join(file, "go.mod")); file != ".." && (err == nil || strings.HasPrefix(name, ".") || name == "testdata" || name == "node_modules") {
				return fs.SkipDir
			}
			return nil
		}
		if !strings.HasSuffix(name, ".go") || strings.HasSuffix(name, "_test.go") {
			return nil
		}
		f, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.ImportsOnly)
		if err != nil {
			return err
		}
		folder := filepath.ToSlash(strings.TrimPrefix(filepath.Dir(file), ".."+string(filepath.Separator)))
		all := imports[folder]
		for _, spec := range f.Imports {
			if p, _ := strconv.Unquote(spec.Path.Value); strings.HasPrefix(p, "sluice/") && !slices.Contains(all, p[len("sluice/"):]) {
				all = append(all, p[len("sluice/"):])
			}
		}
		imports[folder] = all
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(imports) < 20 {
		t.Fatalf("only %d packages found", len(imports))
	}
	return imports
}
