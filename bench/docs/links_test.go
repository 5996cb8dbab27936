// This file follows the links between documents.

package docs

import (
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

var (
	fenced  = regexp.MustCompile("(?ms)^```.*?^```$")
	link    = regexp.MustCompile(`\]\(([^)\s]+)\)`)
	heading = regexp.MustCompile(`(?m)^#+ (.*)$`)
	anchor  = regexp.MustCompile(`<a id="([^"]+)">`)
	dropped = regexp.MustCompile(`[^\pL\pN_ -]`) // from a heading that is an anchor
)

// anchors returns the places in a document that a link can lead to, as GitHub names them.
func anchors(text string) (all []string) {
	for _, m := range heading.FindAllStringSubmatch(text, -1) {
		name := dropped.ReplaceAllString(strings.ToLower(m[1]), "")
		all = append(all, strings.ReplaceAll(name, " ", "-"))
	}
	for _, m := range anchor.FindAllStringSubmatch(text, -1) {
		all = append(all, m[1])
	}
	return all
}

// TestLinks follows each link from one document to a file, or to a heading.
func TestLinks(t *testing.T) {
	text := make(map[string]string)
	for _, doc := range documents(t) {
		b, err := os.ReadFile(filepath.Join(root, doc))
		if err != nil {
			t.Fatal(err)
		}
		text[doc] = fenced.ReplaceAllString(strings.ReplaceAll(string(b), "\r\n", "\n"), "")
	}
	links := 0
	for doc := range text {
		for _, m := range link.FindAllStringSubmatch(text[doc], -1) {
			file, place, _ := strings.Cut(m[1], "#")
			if strings.Contains(file, ":") {
				continue // to elsewhere
			}
			links++
			target := doc
			if file != "" {
				target = path.Join(path.Dir(doc), file)
			}
			if _, err := os.Stat(filepath.Join(root, target)); err != nil {
				t.Errorf("%s: %s leads nowhere", doc, m[1])
			} else if place != "" && !slices.Contains(anchors(text[target]), place) {
				t.Errorf("%s: %s: %s has no such heading", doc, m[1], target)
			}
		}
	}
	if links < 50 {
		t.Errorf("only %d links", links)
	}
}

// Every page is in the index.
func TestIndex(t *testing.T) {
	index, err := os.ReadFile(filepath.Join(root, "docs/README.md"))
	if err != nil {
		t.Fatal(err)
	}
	for _, doc := range documents(t) {
		if page, ok := strings.CutPrefix(doc, "docs/"); ok && page != "README.md" && !strings.Contains(string(index), "]("+page+")") {
			t.Errorf("docs/README.md does not have %s", doc)
		}
	}
}

// A stranger reads the README to its end.
func TestReadmeIsShort(t *testing.T) {
	text, err := os.ReadFile(filepath.Join(root, "README.md"))
	if err != nil {
		t.Fatal(err)
	}
	if n := strings.Count(string(text), "\n"); n > 150 {
		t.Errorf("README.md has %d lines, more than 150", n)
	}
}
