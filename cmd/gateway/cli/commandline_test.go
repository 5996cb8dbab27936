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
		{"shard reconnect 3", command{name: "shard", args: []string{"reconnect", "3"}}, ""},
		{"-config a.toml shard -address h:1 resume -loglevel debug 0 -token-file f", command{name: "shard", args: []string{"resume", "0"}, file: "a.toml", flags: level}, ""},
		{"loglevel warn", command{name: "loglevel", args: []string{"warn"}}, ""},
		{"fleet -json -address h:1", command{name: "fleet"}, ""},
		{"fleet rebalance -config a.toml", command{name: "fleet", args: []string{"rebalance"}, file: "a.toml"}, ""},
		{"reshard 32 -yes", command{name: "reshard", args: []string{"32"}, yes: true}, ""},
		{"reshard -cancel", command{name: "reshard", cancel: true}, ""},
		{"reload -address https://ops.example.com", command{name: "reload"}, ""},
		{"shard resume -h", command{name: "help", args: []string{"shard"}}, ""},
		{"shard -h", command{name: "help", args: []string{"shard"}}, ""},

		{"service install -config a.toml", command{name: "service", args: []string{"install"}, file: "a.toml"}, ""},
		{"service remove two", command{name: "service", args: []string{"remove", "two"}}, ""},
		{"service", command{}, "service takes install or remove, such as gateway service install -config gateway.toml"},
		{"service start", command{}, "service takes install or remove, such as gateway service install -config gateway.toml"},
		{`service remove a\b`, command{}, `"a\\b" is no service's name, which is one word such as sluice-2`},
		{"service remove a b", command{}, `"a b" is no service's name, which is one word such as sluice-2`},

		{"tap -rate 0", command{}, `-rate: "0" is not a number of events from 1 to 10000`},
		{"tap -shard a", command{}, `-shard: "a" is not the id of a shard; write 3, or 0,1,2`},

		{"shard", command{}, "shard takes an action and a shard's id, such as gateway shard reconnect 3"},
		{"shard resume", command{}, "shard takes an action and a shard's id, such as gateway shard reconnect 3"},
		{"shard resum 3", command{}, `shard has no action "resum"; did you mean resume?`},
		{"shard resume x", command{}, `"x" is no shard's id, which is a number from 0 on`},
		{"shard resume 3 4", command{}, "shard takes an action and a shard's id, such as gateway shard reconnect 3"},
		{"loglevel", command{}, "loglevel takes one level: debug, info, warn, error or suppress"},
		{"loglevel warning", command{}, `"warning" is no level; did you mean warn?; there are debug, info, warn, error and suppress`},
		{"reshard", command{}, "reshard takes a shard count, such as gateway reshard 32, or -cancel"},
		{"reshard 32 -cancel", command{}, "reshard takes a shard count, such as gateway reshard 32, or -cancel"},
		{"reshard 0", command{}, `"0" is no shard count, which is 1 to 65536`},
		{"reshard 16 32", command{}, "reshard takes one shard count, such as gateway reshard 32"},
		{"reload -cancel", command{}, "-cancel belongs to reshard"},
		{"reload now", command{}, `reload takes no argument "now"`},
		{"check -address h:1", command{}, "-address and -token-file belong to commands to a running process, such as gateway reload"},
		{"chekc", command{}, `unknown command "chekc"; did you mean check?`},
		{"launch", command{}, `unknown command "launch"`},
		{"check now", command{}, `check takes no argument "now"`},
		{"sessions now", command{}, `sessions takes no argument "now"`},
		{"sessions clear all", command{}, `sessions takes no argument "all"`},
		{"sessions -yes", command{}, "-yes belongs to sessions clear and to reshard with a shard count"},
		{"-json", command{}, "-json belongs to status and fleet"},
		{"fleet drain -json", command{}, "-json belongs to fleet without drain"},
		{"fleet drian", command{}, `fleet has no action "drian"; did you mean drain?`},
		{"fleet drain now", command{}, `fleet takes one action, not also "now"`},
		{"status -ready", command{}, "-ready belongs to health"},
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
