// This file is `gateway shard`, `gateway loglevel` and `gateway reload`: what a running process is asked to do.

package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"

	"sluice/cmd/gateway/config"
	"sluice/cmd/gateway/status"
)

// controlTimeout bounds how long the process may take to do what it is asked for, and to say how that goes on.
const controlTimeout = 30 * time.Second

var (
	shardActions = []string{"reconnect", "resume", "identify"}
	logLevels    = []string{"debug", "info", "warn", "error", "suppress"}
)

// checkControl says what is wrong with the arguments of a command to a running process.
func checkControl(name string, args []string) error {
	switch {
	case name == "shard" && len(args) != 2:
		return fmt.Errorf("shard takes an action and a shard's id, such as gateway shard reconnect 3")
	case name == "shard" && !slices.Contains(shardActions, args[0]):
		return fmt.Errorf("shard has no action %.60q%s", config.RedactArgument(args[0]), didYouMean(args[0], shardActions))
	case name == "shard":
		if id, err := strconv.Atoi(args[1]); err != nil || id < 0 || id >= config.MaxShards {
			return fmt.Errorf("%.60q is no shard's id, which is a number from 0 on", config.RedactArgument(args[1]))
		}
	case name == "fleet" && len(args) > 1:
		return fmt.Errorf("fleet takes one action, not also %.60q", config.RedactArgument(args[1]))
	case name == "fleet" && len(args) == 1 && !slices.Contains(fleetActions, args[0]):
		return fmt.Errorf("fleet has no action %.60q%s", config.RedactArgument(args[0]), didYouMean(args[0], fleetActions))
	case name == "loglevel" && len(args) != 1:
		return fmt.Errorf("loglevel takes one level: debug, info, warn, error or suppress")
	case name == "loglevel" && !slices.Contains(logLevels, args[0]):
		return fmt.Errorf("%.60q is no level%s; there are debug, info, warn, error and suppress", config.RedactArgument(args[0]), didYouMean(args[0], logLevels))
	case name == "service" && (len(args) == 0 || args[0] != "install" && args[0] != "remove"):
		return errors.New("service takes install or remove, such as gateway service install -config gateway.toml")
	case name == "service" && (len(args) > 2 || len(args) == 2 && !namesService(args[1])):
		return fmt.Errorf("%.60q is no service's name, which is one word such as sluice-2", config.RedactArgument(strings.Join(args[1:], " ")))
	case name == "reshard" && len(args) > 1:
		return errors.New("reshard takes one shard count, such as gateway reshard 32")
	case name == "reshard" && len(args) == 1:
		if n, err := strconv.Atoi(args[0]); err != nil || n < 1 || n > config.MaxShards {
			return fmt.Errorf("%.60q is no shard count, which is 1 to %d", config.RedactArgument(args[0]), config.MaxShards)
		}
	case name != "service" && name != "shard" && name != "loglevel" && name != "fleet" && name != "reshard" && len(args) > 0:
		return fmt.Errorf("%s takes no argument %.60q", name, config.RedactArgument(args[0]))
	}
	return nil
}

// control asks the running process, and says what it answers.
func control(ctx context.Context, cmd command, cfg *config.Config, stdout, stderr io.Writer) int {
	client, err := cmd.reach(cfg)
	if err == nil {
		defer client.Close()
		err = cmd.unreached(cfg, ask(ctx, cmd, client, stdout))
	}
	if err != nil {
		printError(stderr, cfg, err)
		return exitFailure
	}
	return exitOK
}

func printError(w io.Writer, cfg *config.Config, err error) {
	fmt.Fprintf(w, "error: %s\n", cfg.Secrets().Redact(plain(err)))
}

// process is an admin.Client.
type process interface {
	Reconnect(ctx context.Context, shard int, how string) error
	SetLogLevel(ctx context.Context, level string) error
	Reload(ctx context.Context) (changes []string, err error)
	Reshard(ctx context.Context, shards int, begin bool) (plan []string, err error)
	CallOff(ctx context.Context) error
	Status(ctx context.Context, q status.Query) (*status.Status, error)
}

// ask asks the process, and follows what it begins as long as that takes.
func ask(ctx context.Context, cmd command, client process, stdout io.Writer) error {
	if cmd.name == "reshard" {
		return reshardCommand(ctx, cmd, client, stdout)
	}
	ctx, cancel := context.WithTimeout(ctx, controlTimeout)
	defer cancel()
	switch cmd.name {
	case "shard":
		id, _ := strconv.Atoi(cmd.args[1]) // see checkControl
		if err := client.Reconnect(ctx, id, cmd.args[0]); err != nil {
			return err
		}
		fmt.Fprintf(stdout, "shard %d: %s\n", id, map[string]string{
			"reconnect": "its connection is closed, and it connects again",
			"resume":    "its connection is closed, and it resumes its session",
			"identify":  "its session is given up, and it identifies in its turn",
		}[cmd.args[0]])
	case "loglevel":
		if err := client.SetLogLevel(ctx, cmd.args[0]); err != nil {
			return err
		}
		fmt.Fprintf(stdout, "log.level is %s until the process ends or reloads\n", cmd.args[0])
	case "reload":
		changes, err := client.Reload(ctx)
		if err != nil {
			return err
		}
		if len(changes) == 0 {
			fmt.Fprintln(stdout, "nothing has changed")
		}
		for _, c := range changes {
			fmt.Fprintln(stdout, printableLine(c))
		}
	}
	return nil
}
