// This file fuzzes what reads settings.

package config

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// checkProblems fails the test if a problem is not one line.
func checkProblems(t *testing.T, problems Problems) {
	for _, p := range problems {
		if line := p.String(); p.Text == "" || strings.ContainsAny(line, "\r\n\x1b\x00") {
			t.Fatalf("not a line: %q", line)
		}
	}
}

// checkPresence fails the test if a presence lacks one of its four keys.
func checkPresence(t *testing.T, object []byte) {
	if object == nil {
		return
	}
	var keys map[string]any
	if err := json.Unmarshal(object, &keys); err != nil || len(keys) != 4 || keys["activities"] == nil {
		t.Fatalf("presence %s: %v", object, err)
	}
}

func seeds(f *testing.F, pattern string) {
	files, err := filepath.Glob("../../../testdata/config/*/" + pattern)
	if err != nil || len(files) == 0 {
		f.Fatalf("no seeds: %v", err)
	}
	for _, name := range files {
		content, err := os.ReadFile(name)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(string(content))
	}
}

// load reads a document and an environment without a look at other files.
func load(document string, environ []string) (*Config, Problems) {
	l := newLoader()
	l.document(Origin{Kind: FromFile, Name: "gateway.toml"}, []byte(document))
	l.environment(environ)
	l.tokenFile, l.API.CAFile = "", ""
	l.validate()
	return l.Config, l.sorted()
}

// FuzzConfigFile: no document makes a panic, and the print of one that is
// accepted gives the same settings again.
func FuzzConfigFile(f *testing.F) {
	seeds(f, "*.toml")
	environ := []string{"DISCORD_TOKEN=" + token}
	f.Fuzz(func(t *testing.T, document string) {
		c, problems := load(document, environ)
		checkProblems(t, problems)
		if problems.Failed() {
			return
		}
		checkPresence(t, c.Presence)
		printed := values(c.Format())
		_, rest, _ := strings.Cut(printed, "\n") // the token is masked
		if strings.Contains(rest, `"***"`) {
			return // as is an address that cannot be shown in part
		}
		again, problems := load(rest, environ)
		if problems.Failed() {
			t.Fatalf("the print of an accepted file is refused: %v\n%s", problems, printed)
		}
		if got := values(again.Format()); got != printed {
			t.Fatalf("printed:\n%s\nand read again:\n%s", printed, got)
		}
	})
}

// FuzzEnvironment: no environment makes a panic. Variables are lines.
func FuzzEnvironment(f *testing.F) {
	seeds(f, "*.env")
	f.Add("DISCORD_TOKEN=D_TOKE")
	f.Add("DISCORD_PRESENCE={\"since\":1,\"activities\":[{\"name\":\"a\",\"type\":\"custom\",\"state\":\"s\"}],\"status\":\"dnd\",\"afk\":true}")
	f.Fuzz(func(t *testing.T, lines string) {
		c, problems := load("", strings.Split(lines, "\n"))
		checkProblems(t, problems)
		if !problems.Failed() {
			checkPresence(t, c.Presence)
			if secret := c.Token.Reveal(); len(secret) >= minSecret && !isCommon(secret) && !strings.Contains(strings.ReplaceAll(lines, "DISCORD_TOKEN="+secret, ""), secret) {
				// A short token may stand in the names of settings as well: what
				// matters is that another one prints the same.
				text := c.Format()
				c.Token = "a token of another bot"
				if text != c.Format() {
					t.Fatalf("the token is printed: %s", text)
				}
			}
		}
	})
}

// FuzzShardIDs: a list that is accepted is in order, without repeats and in
// bounds, and written and read again it is the same.
func FuzzShardIDs(f *testing.F) {
	for _, s := range []string{"0", "0-15,20", "3-0", "0-99999999999", "1,,2", " 1 - 2 ,7", "0-65535,0-65535"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		ids, err := ParseShardIDs(text)
		if err != nil {
			return
		}
		if len(ids) == 0 || ids[0] < 0 || ids[len(ids)-1] >= MaxShards || !slices.IsSorted(ids) ||
			len(slices.Compact(slices.Clone(ids))) != len(ids) {
			t.Fatalf("%q gives %v", text, ids)
		}
		again, err := ParseShardIDs(FormatShardIDs(ids))
		if err != nil || !slices.Equal(ids, again) {
			t.Fatalf("%q gives %v, and again %v (%v)", text, ids, again, err)
		}
	})
}
