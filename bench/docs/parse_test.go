package docs

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"sluice/cmd/gateway/config"
)

// parser returns what looks at the blocks of a language that have no mark, or nil.
func parser(lang string) func(t *testing.T, b block) error {
	switch lang {
	case "json":
		return parseJSON
	case "toml":
		return parseTOML
	case "python":
		return func(t *testing.T, b block) error { return execute(t, "block.py", b.text, "python3") }
	case "js":
		return func(t *testing.T, b block) error { return execute(t, "block.mjs", b.text, "node") }
	}
	return nil
}

func TestParsed(t *testing.T) {
	for _, b := range allBlocks(t) {
		if parse := parser(b.lang); parse != nil {
			if m, _ := find(marks, b); m.reason != "" {
				continue
			}
			if err := parse(t, b); err != nil {
				t.Errorf("%v: %v", b, err)
			}
		}
	}
}

// parseJSON takes JSON as a whole or as lines.
func parseJSON(_ *testing.T, b block) error {
	if json.Valid([]byte(b.text)) {
		return nil
	}
	for line := range strings.Lines(b.text) {
		if !json.Valid([]byte(line)) {
			return errors.New("not JSON: " + line)
		}
	}
	return nil
}

// parseTOML has the gateway take the block as its settings file.
func parseTOML(t *testing.T, b block) error {
	file := filepath.Join(t.TempDir(), "gateway.toml")
	if err := os.WriteFile(file, []byte(b.text), 0o600); err != nil {
		return err
	}
	if _, problems := config.Load(config.Sources{File: file, Environ: []string{"DISCORD_TOKEN=not.a.token"}}); len(problems) > 0 {
		return fmt.Errorf("%v", problems) // a warning too: nobody should have to copy one
	}
	return nil
}

// execute runs a program in another language, which ends without an error.
func execute(t *testing.T, name, text, interpreter string) error {
	if _, err := exec.LookPath(interpreter); err != nil {
		t.Skipf("%s is not here", interpreter)
	}
	cmd := exec.CommandContext(t.Context(), interpreter, name)
	cmd.Dir = t.TempDir()
	if err := os.WriteFile(filepath.Join(cmd.Dir, name), []byte(text), 0o600); err != nil {
		return err
	}
	if out, err := cmd.CombinedOutput(); err != nil {
		return errors.New(string(out))
	}
	return nil
}
