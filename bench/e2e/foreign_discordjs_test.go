// This file runs @discordjs/ws against the simulated Discord, where node is. At
// this version it has no zstd, and hands events on out of order when they are
// compressed one by one: it inflates several at a time.

package e2e

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"sluice/bench/sim"
)

func TestForeignDiscordJS(t *testing.T) {
	t.Parallel()
	dir := installNode(t, "discordjs", "bot.mjs")
	for _, compression := range []string{"zlib-stream", "none"} {
		t.Run(compression, func(t *testing.T) {
			t.Parallel()
			foreignProgram{
				command: []string{"node", "bot.mjs"}, dir: dir, env: []string{"NODE_NO_WARNINGS=1"}, host: sim.RoleResume,
			}.run(t, compression)
		})
	}
}

// installNode returns a folder with the programs of another, and what they need from
// npm.
func installNode(t *testing.T, folder string, programs ...string) string {
	t.Helper()
	for _, name := range []string{"node", "npm"} {
		if _, err := exec.LookPath(name); err != nil {
			t.Skipf("%s needs %s, which is not here", folder, name)
		}
	}
	inputs.Do(readInputs)
	dir := t.TempDir()
	for _, name := range append([]string{"package.json", "package-lock.json"}, programs...) {
		b, err := os.ReadFile(filepath.Join(folder, name))
		if err == nil {
			err = os.WriteFile(filepath.Join(dir, name), b, 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	cmd := exec.CommandContext(t.Context(), "npm", "ci", "--no-audit", "--no-fund", "--ignore-scripts", "--engine-strict", "--prefer-offline")
	cmd.Dir = dir
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("npm ci of %s: %v\n%s", folder, err, out)
	}
	return dir
}
