// This file reads the command line.

package cli

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"net/url"
	"slices"
	"strings"

	"sluice/cmd/gateway/config"
	"sluice/cmd/gateway/tap"
)

// command is a command line that has been read.
type command struct {
	name   string            // of the subcommand; run if none is named
	args   []string          // of help, demo, completion and sessions
	file   string            // -config, or empty
	flags  map[string]string // flags that are settings, by name without the dash
	online bool              // check -online
	yes    bool              // sessions clear -yes, reshard -yes
	cancel bool              // reshard -cancel

	json  bool       // status -json and fleet -json
	tap   url.Values // what tap asks for
	ready bool       // health -ready

	// Of a command to a running process: which one, if not that of the settings' state directory,
	// and the file with its http.token.
	address, tokenFile string
}

// subcommands are the names that may stand on the command line.
var subcommands = []string{"run", "check", "completion", "config", "demo", "fleet", "health", "help", "loglevel", "man", "reload", "reshard", "service", "sessions", "shard", "status", "tap", "top", "upgrade", "version"}

// controls are the commands to a running process.
var controls = []string{"status", "health", "top", "tap", "shard", "loglevel", "reload", "reshard", "fleet"}

// tapFlags are the flags of tap, which are parameters of /tap.
var tapFlags = []string{"event", "shard", "guild", "rate", "max"}

// flagNames are the flags of all subcommands.
var flagNames = []string{"address", "cancel", "config", "event", "guild", "json", "max", "rate", "ready", "shard", "loglevel", "online", "reader", "help", "require-broker", "token-file", "version", "yes"}

// parseCommand reads the arguments: flags, a subcommand, more flags.
func parseCommand(args []string) (command, error) {
	cmd := command{name: "run"}
	rest, err := cmd.parseFlags(args)
	if err != nil || cmd.name != "run" {
		return cmd, err
	}
	if len(rest) > 0 {
		name := rest[0]
		if !slices.Contains(subcommands, name) {
			return cmd, fmt.Errorf("unknown command %.60q%s", config.RedactArgument(name), didYouMean(name, subcommands))
		}
		cmd.name = name
		if name == "demo" || name == "help" || name == "completion" {
			cmd.args = rest[1:]
			return cmd, nil
		}
		rest, err = cmd.parseFlags(rest[1:])
		switch {
		case err != nil:
			return cmd, err
		case cmd.name == "help":
			cmd.args = []string{name}
			return cmd, nil
		case slices.Contains(controls, cmd.name), cmd.name == "service":
			if err := cmd.parseControl(rest); err != nil || cmd.name != name {
				return cmd, err
			}
		case cmd.name == "sessions" && len(rest) > 0 && rest[0] == "clear":
			cmd.args = rest[:1]
			if rest, err = cmd.parseFlags(rest[1:]); err != nil || len(rest) == 0 {
				break
			}
			fallthrough
		case len(rest) > 0:
			hint := ""
			if flag := config.Nearest(rest[0], flagNames); flag != "" {
				hint = "; did you mean -" + flag + "?"
			} else if strings.HasSuffix(rest[0], ".toml") {
				hint = "; write -config before the name of a file"
			}
			return cmd, fmt.Errorf("%s takes no argument %.60q%s", name, config.RedactArgument(rest[0]), hint)
		}
	}
	switch {
	case cmd.online && cmd.name != "check":
		return cmd, errors.New("-online belongs to check")
	case cmd.yes && cmd.name != "sessions" && cmd.name != "reshard" || cmd.yes && len(cmd.args) == 0:
		return cmd, errors.New("-yes belongs to sessions clear and to reshard with a shard count")
	case cmd.cancel && cmd.name != "reshard":
		return cmd, errors.New("-cancel belongs to reshard")
	case cmd.name == "reshard" && cmd.cancel == (len(cmd.args) > 0):
		return cmd, errors.New("reshard takes a shard count, such as gateway reshard 32, or -cancel")
	case cmd.json && cmd.name == "fleet" && len(cmd.args) > 0:
		return cmd, fmt.Errorf("-json belongs to fleet without %s", cmd.args[0])
	case cmd.json && cmd.name != "status" && cmd.name != "fleet":
		return cmd, errors.New("-json belongs to status and fleet")
	case cmd.tap != nil && cmd.name != "tap":
		return cmd, errors.New("-event, -shard, -guild, -rate and -max belong to tap")
	case cmd.tap != nil:
		if _, err := tap.ParseFilter(cmd.tap); err != nil {
			return cmd, fmt.Errorf("-%w", err)
		}
	}
	switch {
	case cmd.ready && cmd.name != "health":
		return cmd, errors.New("-ready belongs to health")
	case (cmd.address != "" || cmd.tokenFile != "") && !slices.Contains(controls, cmd.name):
		return cmd, errors.New("-address and -token-file belong to commands to a running process, such as gateway reload")
	}
	return cmd, err
}

// parseControl reads the arguments of a command to a running process, with flags among them.
func (cmd *command) parseControl(rest []string) (err error) {
	name := cmd.name
	for len(rest) > 0 {
		cmd.args = append(cmd.args, rest[0])
		if rest, err = cmd.parseFlags(rest[1:]); err != nil {
			return err
		}
		if cmd.name == "help" {
			cmd.args = []string{name}
		}
		if cmd.name != name {
			return nil
		}
	}
	return checkControl(name, cmd.args)
}

// settings returns the arguments that lead another program to the same settings.
func (cmd *command) settings() (args []string) {
	if cmd.file != "" {
		args = append(args, "-config", cmd.file)
	}
	for name, value := range cmd.flags {
		args = append(args, "-"+name+"="+value)
	}
	return args
}

func didYouMean(name string, candidates []string) string {
	if n := config.Nearest(name, candidates); n != "" {
		return "; did you mean " + n + "?"
	}
	return ""
}

// parseFlags reads flags, with one dash or two, and returns what follows them.
func (cmd *command) parseFlags(args []string) ([]string, error) {
	set := flag.NewFlagSet("gateway", flag.ContinueOnError)
	set.SetOutput(io.Discard)
	set.StringVar(&cmd.file, "config", cmd.file, "")
	set.BoolVar(&cmd.online, "online", cmd.online, "")
	set.BoolVar(&cmd.yes, "yes", cmd.yes, "")
	set.BoolVar(&cmd.cancel, "cancel", cmd.cancel, "")
	set.BoolVar(&cmd.json, "json", cmd.json, "")
	set.BoolVar(&cmd.ready, "ready", cmd.ready, "")
	for _, name := range tapFlags {
		set.Func(name, "", func(value string) error {
			if cmd.tap == nil {
				cmd.tap = url.Values{}
			}
			cmd.tap.Set(name, value)
			return nil
		})
	}
	set.StringVar(&cmd.address, "address", cmd.address, "")
	set.StringVar(&cmd.tokenFile, "token-file", cmd.tokenFile, "")
	version := set.Bool("version", false, "")
	for _, s := range config.Settings() {
		if s.Flag != "" {
			take := func(value string) error {
				if cmd.flags == nil {
					cmd.flags = map[string]string{}
				}
				cmd.flags[s.Flag] = value
				return nil
			}
			if s.Takes == config.Boolean {
				set.BoolFunc(s.Flag, "", take)
			} else {
				set.Func(s.Flag, "", take)
			}
		}
	}
	err := set.Parse(args)
	switch {
	case errors.Is(err, flag.ErrHelp):
		cmd.name = "help"
		return nil, nil
	case err != nil:
		return nil, flagTrouble(err)
	case *version:
		cmd.name = "version"
	}
	set.Visit(func(f *flag.Flag) {
		if f.Name == "config" && cmd.file == "" {
			err = errors.New("-config names no file")
		}
		if f.Name == "address" && cmd.address == "" {
			err = errors.New("-address names no host:port")
		}
	})
	return set.Args(), err
}

// flagTrouble adds to an unknown flag what was probably meant.
func flagTrouble(err error) error {
	name, unknown := strings.CutPrefix(err.Error(), "flag provided but not defined: -")
	if !unknown {
		return err
	}
	name = config.RedactArgument(name)
	isSetting := func(s config.Setting) bool { return s.Key == name }
	if n := config.Nearest(name, flagNames); n != "" && !slices.ContainsFunc(config.Settings(), isSetting) {
		return fmt.Errorf("unknown flag -%.60s; did you mean -%s?", name, n)
	}
	for _, s := range config.Settings() {
		if config.Nearest(name, []string{s.Key, s.Env}) != "" {
			return fmt.Errorf("unknown flag -%.60s; set %s, or %s in the file", name, s.Env, s.Key)
		}
	}
	return fmt.Errorf("unknown flag -%.60s", name)
}
