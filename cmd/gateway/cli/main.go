// This file is the way in: it reads the command line and runs what it asks for.

// Package cli is the program gateway: its command line, from the arguments and
// the environment to the exit code. It is apart from the command, so that tests
// of the program can import it: what they import, Go's test cache sees.
package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	stdlog "log"
	"log/slog"
	"os"
	"slices"

	"sluice/cmd/gateway/config"
	"sluice/cmd/gateway/page"
)

// Exit codes. For what Discord refuses for good see codeOf.
const (
	exitOK           = 0
	exitFailure      = 1
	exitUsage        = 2 // the command line or a setting is wrong; nothing was started
	exitForbidden    = 3
	exitUnauthorized = 4
)

// Main runs the command line, without the program's name, and returns the exit
// code. It owns the process's signals while it runs, and stdin.
func Main(args, environ []string, stdout, stderr io.Writer) int {
	if code, is := asService(args, environ); is {
		return code
	}
	return start(args, environ, stdout, stderr, nil)
}

// start is Main under a service manager, or under none.
func start(args, environ []string, stdout, stderr io.Writer, m *manager) int {
	stdlog.SetOutput(io.Discard) // net/http writes there what it returns as errors, too
	cmd, err := parseCommand(args)
	if err != nil {
		fmt.Fprintf(stderr, "gateway: %s\nSee gateway help.\n", config.RedactArgument(err.Error()))
		return exitUsage
	}
	if cmd.name == "run" {
		ignoreUpgrades() // until they can be answered
	}
	ctx, hangups, release := awaitSignals(cmd.name == "run", m)
	defer release()
	switch cmd.name {
	case "help":
		return help(cmd.args, stdout, stderr)
	case "version":
		fmt.Fprintln(stdout, versionLine())
		return exitOK
	case "completion":
		return completion(cmd.args, stdout, stderr)
	case "man":
		io.WriteString(stdout, manPage())
		return exitOK
	case "demo":
		return demo(ctx, cmd.args, stdout, stderr)
	case "service":
		err := findServices()
		if err == nil && cmd.args[0] == "remove" {
			err = removeService(cmd.service(), stdout)
		}
		if err != nil {
			fmt.Fprintf(stderr, "error: %v\n", err)
			return exitFailure
		}
		if cmd.args[0] == "remove" {
			return exitOK
		}
	}
	sources := config.Sources{File: cmd.file, Environ: environ, Flags: cmd.flags}
	cfg, problems := config.Load(sources)
	if slices.Contains(controls, cmd.name) {
		problems = problems.ToReach(cmd.address)
	}
	if problems.Failed() {
		printProblems(stderr, problems, config.Warning)
		if cmd.name == "health" {
			return exitFailure // container engines reserve 2
		}
		return exitUsage
	}
	brokers := registry(Brokers())
	switch cmd.name {
	case "config":
		printProblems(stderr, problems, config.Note)
		io.WriteString(stdout, cfg.Format())
		return exitOK
	case "check":
		printProblems(stderr, problems, config.Note)
		if held, ok := trialOf(environ); ok {
			if err := tryStart(ctx, cfg, brokers, held); err != nil {
				fmt.Fprintf(stderr, "error: %s\n", cfg.Secrets().Redact(explain(err)))
				return exitFailure
			}
		}
		return check(ctx, cfg, brokers, cmd.online, stdout, stderr)
	case "upgrade":
		return upgrade(ctx, cfg, stdout, stderr)
	case "status", "health":
		return look(ctx, cmd, cfg, stdout, stderr)
	case "fleet":
		return runFleet(ctx, cmd, cfg, stdout, stderr)
	case "top", "tap":
		return follow(ctx, cmd, cfg, os.Stdin, stdout, stderr)
	case "shard", "loglevel", "reload", "reshard":
		return control(ctx, cmd, cfg, stdout, stderr)
	case "service":
		return install(cmd, cfg, stdout, stderr)
	case "sessions":
		return sessions(ctx, cfg, len(cmd.args) > 0, cmd.yes, os.Stdin, stdout, stderr)
	}
	if m != nil {
		if err := refuseStdio(cfg); err != nil {
			printError(stderr, cfg, err)
			return exitUsage
		}
		if cfg.Log.Format == config.LogAuto {
			cfg.Log.Format = config.LogText // people read it
		}
	}
	var level slog.LevelVar
	level.Set(cfg.Log.Level)
	logs := new(page.Logs)
	log, out := openLog(cfg.Log, &level, cfg.KnownSecrets, stderr, logs)
	defer out.Close()
	toLog(log)
	defer stdlog.SetOutput(io.Discard)
	logProblems(ctx, log, problems)
	u := newUpgrades(cfg, log)
	ctx = u.await(ctx, cmd.settings())
	context.AfterFunc(ctx, func() {
		if context.Cause(ctx) != errUpgrade {
			notify(notifyStopping, log)
		}
	})
	r := newReloader(sources, cfg, &level, log)
	go r.await(ctx, hangups)
	err = run(ctx, cfg, brokers, log, r, logs, func() {
		u.started()
		notify(notifyReady, log)
		if m != nil {
			m.ready()
		}
	})
	out.Flush() // so that there is room for the last line
	if context.Cause(ctx) != errUpgrade {
		u.failed(err)
		return exitCode(err, log)
	}
	exitCode(err, log) // is logged
	if release() {
		u.failed(errors.New("a signal has ended the process"))
		return exitCode(err, log)
	}
	out.Flush()
	err = succeed(environ)
	u.failed(err)
	return exitCode(err, log)
}

// printProblems prints the problems from the severity on, one a line.
func printProblems(w io.Writer, problems config.Problems, from config.Severity) {
	for _, p := range problems {
		if p.Severity >= from {
			fmt.Fprintln(w, p)
		}
	}
}

// exitCode logs the error, if there is one, and returns its exit code.
func exitCode(err error, log *slog.Logger) int {
	if log = lastLog(log); err != nil {
		log.Error(explain(err))
	}
	return codeOf(err)
}
