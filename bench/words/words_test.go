// Package words_test holds what people read, the documentation and the messages of the programs,
// to the terms of terms_test.go.
package words_test

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// root is the repository.
const root = "../.."

// text is something that people read.
type text struct {
	file string // its path in the repository
	line int    // where it begins
	text string
}

// generated is what the documentation takes from the code, whose own strings are looked at.
var generated = regexp.MustCompile(`(?s)<!-- settings:begin -->.*<!-- settings:end -->`)

func TestDocumentation(t *testing.T) {
	hold(t, documents(t))
}

// Messages are the string literals of the programs: log lines, errors, descriptions of settings.
func TestMessages(t *testing.T) {
	hold(t, literals(t))
}

// Every exception is of use.
func TestAllowed(t *testing.T) {
	all := append(documents(t), literals(t)...)
	for _, a := range allowed {
		if !slices.ContainsFunc(all, func(x text) bool { return x.file == a.file && strings.Contains(x.text, a.text) }) {
			t.Errorf("%s has no %q, which is allowed there", a.file, a.text)
		}
	}
}

func TestFind(t *testing.T) {
	for _, tt := range []struct {
		text string
		want []string
	}{
		{"Redis unavailable; buffering events", nil},
		{"one\nredis takes\n  no events", []string{`a.md:2: "takes\n  no events": write "unavailable; buffering events"`}},
		{"letters, capital letters, dead\nletters, dead-lettered, mark_test", []string{`a.md:1: "letters": write "dead letters"`}},
		{"He Told it; untold, foretold", []string{`a.md:1: "Told": write "logged, reports, notified"`}},
		{"a row of sluice:seen:<bot>", []string{`a.md:1: "seen": write "dedup position"`}},
	} {
		if got := find(text{"a.md", 1, tt.text}); !slices.Equal(got, tt.want) {
			t.Errorf("%q: %q, want %q", tt.text, got, tt.want)
		}
	}
	if got := find(text{"docs/redis.md", 1, "a row of sluice:seen:<bot>"}); got != nil {
		t.Errorf("what is allowed: %q", got)
	}
}

// hold reports each word of a text for which there is a term.
func hold(t *testing.T, texts []text) {
	t.Helper()
	if len(texts) < 10 {
		t.Errorf("only %d texts", len(texts))
	}
	for _, x := range texts {
		for _, wrong := range find(x) {
			t.Error(wrong)
		}
	}
}

// find returns the words of a text for which there is a term, each with its place.
func find(x text) (wrong []string) {
	rest := otherLetters.ReplaceAllStringFunc(x.text, blank)
	for _, a := range allowed {
		if a.file == x.file {
			rest = strings.ReplaceAll(rest, a.text, blank(a.text))
		}
	}
	for _, t := range terms {
		for _, at := range t.avoid.FindAllStringIndex(rest, -1) {
			line := x.line + strings.Count(rest[:at[0]], "\n")
			wrong = append(wrong, fmt.Sprintf("%s:%d: %q: write %q", x.file, line, rest[at[0]:at[1]], t.write))
		}
	}
	return wrong
}

// blank returns text of the same lines without a word.
func blank(text string) string { return regexp.MustCompile(`[^\n]`).ReplaceAllString(text, "_") }

// documents returns the documentation.
func documents(t *testing.T) (all []text) {
	t.Helper()
	walk(t, func(name string, content []byte) error {
		if strings.HasSuffix(name, ".md") {
			content := generated.ReplaceAllStringFunc(string(content), blank)
			all = append(all, text{name, 1, content})
		}
		return nil
	})
	return all
}

// literals returns the string literals of the code, without tests. Literals that are added to one
// another are one.
func literals(t *testing.T) (all []text) {
	t.Helper()
	walk(t, func(name string, content []byte) error {
		if !strings.HasSuffix(name, ".go") || strings.HasSuffix(name, "_test.go") {
			return nil
		}
		files := token.NewFileSet()
		f, err := parser.ParseFile(files, name, content, parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		ast.Inspect(f, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.ImportSpec:
				return false
			case *ast.Field:
				n.Tag = nil
			case ast.Expr:
				if s, ok := literal(n); ok {
					all = append(all, text{name, files.Position(n.Pos()).Line, s})
					return false
				}
			}
			return true
		})
		return nil
	})
	return all
}

// literal returns the value of a string literal, or of a sum of some.
func literal(e ast.Expr) (string, bool) {
	switch e := e.(type) {
	case *ast.BasicLit:
		if e.Kind == token.STRING {
			s, err := strconv.Unquote(e.Value)
			return s, err == nil
		}
	case *ast.BinaryExpr:
		x, left := literal(e.X)
		y, right := literal(e.Y)
		return x + y, left && right && e.Op == token.ADD
	}
	return "", false
}

// walk calls f with each document and Go file of the repository.
func walk(t *testing.T, f func(name string, content []byte) error) {
	t.Helper()
	err := fs.WalkDir(os.DirFS(root), ".", func(name string, d fs.DirEntry, err error) error {
		switch base := d.Name(); {
		case err != nil:
			return err
		case d.IsDir() && name != "." && (strings.HasPrefix(base, ".") || slices.Contains([]string{"node_modules", "testdata", "bin", "dist", "target"}, base)):
			return fs.SkipDir
		case d.IsDir() || filepath.Ext(name) != ".md" && filepath.Ext(name) != ".go":
			return nil
		}
		content, err := os.ReadFile(filepath.Join(root, name))
		if err != nil {
			return err
		}
		return f(name, []byte(strings.ReplaceAll(string(content), "\r\n", "\n")))
	})
	if err != nil {
		t.Fatal(err)
	}
}
