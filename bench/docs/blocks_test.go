// Package docs holds the documentation to what it says: every code block is run or parsed,
// or has a reason here for which it is not.
package docs

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// root is the repository.
const root = "../.."

// block is a fenced code block of a document.
type block struct {
	doc  string // its path in the repository
	line int
	lang string
	text string
}

func (b block) String() string { return fmt.Sprintf("%s:%d", b.doc, b.line) }

// blocks returns the code blocks of a document.
func blocks(doc, text string) (all []block, err error) {
	var b *block
	fence, n := "", 0
	for line := range strings.Lines(text) {
		n++
		trimmed := strings.TrimSpace(line)
		switch {
		case b == nil && strings.HasPrefix(trimmed, "```"):
			lang := strings.TrimLeft(trimmed, "`")
			fence = trimmed[:len(trimmed)-len(lang)]
			b = &block{doc: doc, line: n, lang: lang}
		case b != nil && trimmed == fence:
			all = append(all, *b)
			b = nil
		case b != nil:
			b.text += line
		}
	}
	if b != nil {
		return nil, fmt.Errorf("%v: the block has no end", *b)
	}
	return all, nil
}

// documents returns the names of all documents, README.md first.
func documents(t *testing.T) []string {
	t.Helper()
	names := []string{"README.md"}
	err := fs.WalkDir(os.DirFS(root), ".", func(name string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && (d.Name() == "node_modules" || d.Name() == "testdata" || name != "." && strings.HasPrefix(d.Name(), ".")):
			return fs.SkipDir
		case strings.HasSuffix(name, ".md") && name != "README.md":
			names = append(names, name)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return names
}

func allBlocks(t *testing.T) (all []block) {
	t.Helper()
	for _, doc := range documents(t) {
		text, err := os.ReadFile(filepath.Join(root, doc))
		if err != nil {
			t.Fatal(err)
		}
		b, err := blocks(doc, string(text))
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, b...)
	}
	return all
}

// find returns the mark of a block, if it has one.
func find(marks []mark, b block) (mark, bool) {
	i := slices.IndexFunc(marks, func(m mark) bool { return m.doc == b.doc && strings.Contains(b.text, m.has) })
	if i < 0 {
		return mark{}, false
	}
	return marks[i], true
}

// unmarked returns what is wrong with the list of marks: a block that is neither run nor
// parsed and says nothing of why, and a mark without a block.
func unmarked(all []block, marks []mark) (wrong []string) {
	used := make([]bool, len(marks))
	for _, b := range all {
		m, ok := find(marks, b)
		for i := range marks {
			used[i] = used[i] || ok && marks[i] == m
		}
		if !ok && parser(b.lang) == nil {
			wrong = append(wrong, fmt.Sprintf("%v: a block of language %q needs a mark in bench/docs/marks_test.go: how it is run, or why not", b, b.lang))
		}
	}
	for i, m := range marks {
		if !used[i] {
			wrong = append(wrong, fmt.Sprintf("%s has no block with %q, which bench/docs/marks_test.go has a mark for", m.doc, m.has))
		}
	}
	return wrong
}

func TestEveryBlockIsMarked(t *testing.T) {
	for _, wrong := range unmarked(allBlocks(t), marks) {
		t.Error(wrong)
	}
}

func TestUnmarked(t *testing.T) {
	all, err := blocks("a.md", "text\n```sh\none\n```\n\n````\n```\n````\n```json\n{}\n```\n")
	if err != nil || len(all) != 3 || all[1] != (block{"a.md", 6, "", "```\n"}) {
		t.Fatalf("%q, %v", all, err)
	}
	got := unmarked(all, []mark{{doc: "a.md", has: "```", reason: "r"}, {doc: "a.md", has: "two"}})
	want := []string{
		`a.md:2: a block of language "sh" needs a mark in bench/docs/marks_test.go: how it is run, or why not`,
		`a.md has no block with "two", which bench/docs/marks_test.go has a mark for`,
	}
	if !slices.Equal(got, want) {
		t.Errorf("got %q", got)
	}
	if _, err := blocks("a.md", "```sh\n"); err == nil {
		t.Error("a block without an end is none")
	}
}
