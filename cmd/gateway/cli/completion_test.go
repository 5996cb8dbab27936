// This file tests the completions by the shells, and the page of the manual by what formats it.

package cli

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"sluice/cmd/gateway/config"
)

// Each subcommand has what completions and the manual say of it, and no flag is left out.
func TestDescribe(t *testing.T) {
	all := describe()
	var flags []string
	for _, c := range all {
		if c.short == "" || c.name != "run" && !strings.HasPrefix(c.synopsis, "gateway "+c.name) {
			t.Errorf("%s: the usage has %q, its topic begins with %q; help.go needs a row in the usage and a topic for it", c.name, c.short, c.synopsis)
		}
		for _, f := range c.flags {
			flags = append(flags, f.name)
		}
	}
	if len(all) != len(subcommands) || all[0].name != "run" {
		t.Errorf("%d subcommands of %d, the first is %s", len(all), len(subcommands), all[0].name)
	}
	for _, name := range flagNames {
		if name != "help" && name != "version" && !slices.Contains(flags, name) {
			t.Errorf("-%s is in the synopsis of no topic", name)
		}
	}
}

// script returns the file with the completion of a shell, which must be here.
func script(t *testing.T, shell string) string {
	t.Helper()
	if _, err := exec.LookPath(shell); err != nil {
		t.Skipf("%s is not here", shell)
	}
	o := runCommand(nil, "completion", shell)
	file := filepath.Join(t.TempDir(), "completion")
	if err := os.WriteFile(file, []byte(o.stdout), 0o600); err != nil || o.code != exitOK || o.stderr != "" {
		t.Fatalf("%+v, %v", o, err)
	}
	return file
}

// What somebody has typed, and what the shell offers for its last word.
var typed = []struct{ line, want string }{
	{"gateway che", "check"},
	{"gateway check -o", "-online"},
	{"gateway -loglevel w", "warn"},
	{"gateway -loglevel warn sess", "sessions"},
	{"gateway sessions cl", "clear"},
	{"gateway completion z", "zsh"},
	{"gateway -config file check -onl", "-online"},
	{"gateway help int", "intents"},
	{"gateway run -req", "-require-broker"},
	{"gateway check -config /etc/host", "/etc/hosts"},
}

// most is how many words a shell may offer: it filters those that begin otherwise.
const most = 12

func TestBashCompletion(t *testing.T) {
	file := script(t, "bash")
	const complete = `compopt() { :; }; . "$1"; COMP_WORDS=($2); COMP_CWORD=$((${#COMP_WORDS[@]} - 1)); _gateway; printf '%s\n' "${COMPREPLY[@]}"`
	for _, tc := range typed {
		out, err := exec.CommandContext(t.Context(), "bash", "-uec", complete, "-", file, tc.line).CombinedOutput()
		if got := strings.Fields(string(out)); err != nil || !slices.Contains(got, tc.want) || len(got) > most {
			t.Errorf("%s: %s, %v, want %s", tc.line, out, err, tc.want)
		}
	}
}

func TestFishCompletion(t *testing.T) {
	file := script(t, "fish")
	for _, tc := range typed {
		cmd := exec.CommandContext(t.Context(), "fish", "--no-config", "-c", "source $argv[1]; complete -C $argv[2]", file, tc.line)
		out, err := cmd.CombinedOutput()
		if got := strings.Fields(string(out)); err != nil || !slices.Contains(got, tc.want) || len(got) > most {
			t.Errorf("%s: %s, %v, want %s", tc.line, out, err, tc.want)
		}
	}
}

// zsh completes in a terminal alone: here what stands for _describe, compadd and _files prints.
func TestZshCompletion(t *testing.T) {
	file := script(t, "zsh")
	const complete = `compdef() { :; }; compadd() { shift; print -l -- "$@"; }; _files() { print -- /etc/hosts; }
		_describe() { [[ $1 = -o ]] && shift; print -l -- "${(@)${(P)2}%%:*}"; }
		. "$1"; words=(${=2}); CURRENT=$#words; _gateway`
	for _, tc := range typed {
		out, err := exec.CommandContext(t.Context(), "zsh", "-fuec", complete, "-", file, tc.line).CombinedOutput()
		if !slices.Contains(strings.Fields(string(out)), tc.want) || strings.Contains(string(out), "parameter not set") {
			t.Errorf("%s: %s, %v, want %s", tc.line, out, err, tc.want)
		}
	}
}

func TestCompletionUsage(t *testing.T) {
	for _, args := range []string{"completion", "completion tcsh", "completion bash zsh"} {
		if o := runCommand(nil, strings.Fields(args)...); o.code != exitUsage || o.stdout != "" || !strings.HasSuffix(o.stderr, "bash, zsh, fish\n") {
			t.Errorf("%s: %+v", args, o)
		}
	}
}

// The page has each subcommand, flag and setting, and what formats it has nothing to complain of.
func TestManPage(t *testing.T) {
	page := manPage()
	for _, name := range subcommands {
		if !strings.Contains(page, "\n.SS "+roffArgument(name)+"\n") {
			t.Errorf("%s is missing", name)
		}
	}
	for _, s := range config.Settings() {
		if !strings.Contains(page, "\n.BR "+roffArgument(s.Key)+` ", " `+roffArgument(s.Env)+"\n") {
			t.Errorf("%s is missing", s.Key)
		}
	}
	if _, err := exec.LookPath("groff"); err != nil {
		t.Skip("groff is not here")
	}
	cmd := exec.CommandContext(t.Context(), "groff", "-man", "-Tutf8", "-ww", "-Wbreak", "-P-c")
	cmd.Stdin = strings.NewReader(page)
	var warnings strings.Builder
	cmd.Stderr = &warnings
	out, err := cmd.Output()
	if err != nil || warnings.Len() > 0 || !strings.Contains(string(out), "source <(gateway completion bash)") {
		t.Errorf("%v\n%s\n%s", err, warnings.String(), out)
	}
}
