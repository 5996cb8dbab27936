// This file runs @discordjs/ws against the simulated Discord, where node is. At
// this version it has no zstd, and hands events on out of order when they are
// compressed one by one: it inflates several at a time.

package e2e

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
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

// npmFault matches the errors of npm for which the folder itself is to blame:
// a lock that does not fit, or a package that is not what the lock says.
var npmFault = regexp.MustCompile(`(?m)^npm (error|ERR!) code (EUSAGE|EINTEGRITY|EJSONPARSE)$`)

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
	out, err := cmd.CombinedOutput()
	if exit := (*exec.ExitError)(nil); err != nil && (!errors.As(err, &exit) || npmFault.Match(out)) {
		t.Fatalf("npm: %v\n%s", err, out)
	}
	if err != nil {
		t.Skipf("what %s needs cannot be had from npm here: %v\n%s", folder, err, out)
	}
	return dir
}
