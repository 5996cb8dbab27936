// This file tests how the command line is read.

package cli

import (
	"maps"
	"slices"
	"strings"
	"testing"
)

// Commands and flags in every order and form; what is wrong is named in one line.
func TestParseCommand(t *testing.T) {
	level := map[string]string{"loglevel": "debug"}
	for _, tc := range []struct {
		args string
		want command
		err  string
	}{
		{"", command{name: "run"}, ""},
		{"run", command{name: "run"}, ""},
		{"-config a.toml -loglevel debug", command{name: "run", file: "a.toml", flags: level}, ""},
		{"--config=a.toml --loglevel=debug", command{name: "run", file: "a.toml", flags: level}, ""},
		{"-config a.toml check -loglevel debug", command{name: "check", file: "a.toml", flags: level}, ""},
		{"-config a.toml check -config b.toml", command{name: "check", file: "b.toml"}, ""},
		{"check -online", command{name: "check", online: true}, ""},
		{"check --online=false", command{name: "check"}, ""},
		{"-h", command{name: "help"}, ""},
		{"--help", command{name: "help"}, ""},
		{"check -h", command{name: "help", args: []string{"check"}}, ""},
		{"help settings", command{name: "help", args: []string{"settings"}}, ""},
		{"help", command{name: "help"}, ""},
		{"version", command{name: "version"}, ""},
		{"--version", command{name: "version"}, ""},
		{"sessions", command{name: "sessions"}, ""},
		{"sessions clear -config a.toml", command{name: "sessions", args: []string{"clear"}, file: "a.toml"}, ""},
		{"status -json -address h:1", command{name: "status"}, ""},
		{"health -ready -config a.toml", command{name: "health", file: "a.toml"}, ""},
		{"demo -seed 7 -x", command{name: "demo", args: []string{"-seed", "7", "-x"}}, ""},

		{"chekc", command{}, `unknown command "chekc"; did you mean check?`},
		{"start", command{}, `unknown command "start"`},
		{"check now", command{}, `check takes no argument "now"`},
		{"sessions now", command{}, `sessions takes no argument "now"`},
		{"sessions clear all", command{}, `sessions takes no argument "all"`},
		{"sessions -yes", command{}, "-yes belongs to sessions clear"},
		{"-json", command{}, "-json belongs to status"},
		{"status -ready", command{}, "-ready belongs to health"},
		{"check -address h:1", command{}, "-address belongs to status and health"},
		{"status -address=", command{}, "-address names no host:port"},
		{"health now", command{}, `health takes no argument "now"`},
		{"version 2", command{}, `version takes no argument "2"`},
		{"-confg a.toml", command{}, "unknown flag -confg; did you mean -config?"},
		{"check -onlin", command{}, "unknown flag -onlin; did you mean -online?"},
		{"-token abc", command{}, "unknown flag -token; set DISCORD_TOKEN, or token in the file"},
		{"-shard-count=4", command{}, "unknown flag -shard-count; set DISCORD_SHARD_COUNT, or shards.count in the file"},
		{"-zebra", command{}, "unknown flag -zebra"},
		{"-config", command{}, "flag needs an argument: -config"},
		{"-config=", command{}, "-config names no file"},
		{"-online", command{}, "-online belongs to check"},
		{"config -online", command{}, "-online belongs to check"},
	} {
		got, err := parseCommand(strings.Fields(tc.args))
		if tc.err != "" {
			if err == nil || err.Error() != tc.err {
				t.Errorf("%q: error %v, want %s", tc.args, err, tc.err)
			}
			continue
		}
		if err != nil || got.name != tc.want.name || got.file != tc.want.file || got.online != tc.want.online ||
			!slices.Equal(got.args, tc.want.args) || !maps.Equal(got.flags, tc.want.flags) {
			t.Errorf("%q: %+v, %v, want %+v", tc.args, got, err, tc.want)
		}
	}
}

// FuzzCommandLine: no command line makes a panic, and one that is accepted
// names a command there is. Arguments are lines.
func FuzzCommandLine(f *testing.F) {
	for _, args := range []string{"", "check\n-online", "-config\na.toml\n-loglevel\ndebug", "--config=a\nconfig", "help\nsettings",
		"demo\n--\n-x", "-h", "check\n-h", "version", "---x", "-=", "--", "-config", "chekc"} {
		f.Add(args)
	}
	f.Fuzz(func(t *testing.T, lines string) {
		var args []string
		if lines != "" {
			args = strings.Split(lines, "\n")
		}
		cmd, err := parseCommand(args)
		if err != nil {
			if err.Error() == "" {
				t.Fatal("an error without a text")
			}
			return
		}
		if !slices.Contains(subcommands, cmd.name) {
			t.Fatalf("%q: command %q", args, cmd.name)
		}
		if cmd.online && cmd.name != "check" && cmd.name != "help" && cmd.name != "version" {
			t.Fatalf("%q: -online for %s", args, cmd.name)
		}
	})
}
