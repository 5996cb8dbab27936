// This file tests that the documentation's tables are tables.

package cli

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// brokenTables returns what is wrong with the tables of a text in GitHub's Markdown: a row whose
// table has ended before it, or one with more or fewer cells than the header.
func brokenTables(text string) (problems []string) {
	delimiter := regexp.MustCompile(`^\|(\s*:?-+:?\s*\|)+$`)
	lines := strings.Split(text, "\n")
	fenced, cells := false, 0 // of the table that is being read
	for i, line := range lines {
		line = strings.TrimSpace(line)
		if strings.HasPrefix(line, "```") {
			fenced = !fenced
		}
		if fenced || !strings.HasPrefix(line, "|") {
			cells = 0
			continue
		}
		n := cellCount(line)
		switch {
		case cells == 0 && (i+1 == len(lines) || !delimiter.MatchString(strings.TrimSpace(lines[i+1]))):
			problems = append(problems, fmt.Sprintf("line %d: a row outside of a table", i+1))
			continue
		case cells == 0:
			cells = n
			if i > 0 && strings.TrimSpace(lines[i-1]) != "" && !strings.HasPrefix(lines[i-1], "<!--") && !strings.HasPrefix(lines[i-1], "```") {
				problems = append(problems, fmt.Sprintf("line %d: no empty line before the table", i+1))
			}
		}
		if n != cells {
			problems = append(problems, fmt.Sprintf("line %d: %d cells in a table of %d", i+1, n, cells))
		}
	}
	return problems
}

// cellCount counts a row's cells. A | ends a cell in code as well, unless \ stands before it.
func cellCount(row string) int {
	row = strings.ReplaceAll(row, `\|`, "")
	return strings.Count(strings.TrimSuffix(strings.TrimPrefix(row, "|"), "|"), "|") + 1
}

func TestTables(t *testing.T) {
	const root = "../../.."
	files := 0
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		switch name := d.Name(); {
		case err != nil:
			return err
		case d.IsDir() && path != root && (strings.HasPrefix(name, ".") || name == "node_modules" || name == "bin" || name == "dist"):
			return fs.SkipDir
		case filepath.Ext(name) != ".md":
			return nil
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		files++
		for _, p := range brokenTables(unixText(text)) {
			t.Errorf("%s: %s", path, p)
		}
		return nil
	})
	if err != nil || files < 5 {
		t.Errorf("%d files: %v", files, err)
	}
}

func TestBrokenTables(t *testing.T) {
	const head = "| a | b |\n| --- | --- |\n"
	for text, want := range map[string]int{
		head + "| `x \\| y` | 2 |\n": 0,
		head + "| `x | y` | 2 |\n":   1,
		head + "| 1 |\n":             1,
		head + "\n| 1 | 2 |\n":       1,
		"text\n" + head:              1,
		"```\n| sort\n```\n" + head:  0,
		"| a |\n| --- | --- |\n":     1,
	} {
		if got := brokenTables(text); len(got) != want {
			t.Errorf("%q: %q, want %d", text, got, want)
		}
	}
}
