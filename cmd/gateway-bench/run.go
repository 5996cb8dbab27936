// This file is "gateway-bench run" and "gateway-bench compare": measuring, and
// holding two measurements beside each other.

package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"sluice/bench/load"
	"sluice/bench/report"
)

// list is a flag that may be given more than once.
type list []string

func (l *list) String() string     { return strings.Join(*l, " ") }
func (l *list) Set(s string) error { *l = append(*l, s); return nil }

// runFlags are the flags of "run" and "profile" that are not fields of
// load.Options.
type runFlags struct {
	peers      list
	all        bool
	env        list
	spectacles string
	json, html string
}

// runFlagSet declares the flags of "run", and the common ones of "profile".
func runFlagSet(name, about string, o *load.Options, f *runFlags, stderr io.Writer) *flag.FlagSet {
	fs := flag.NewFlagSet("gateway-bench "+name, flag.ContinueOnError)
	fs.SetOutput(stderr)
	fs.Usage = func() {
		fmt.Fprintf(stderr, "usage: gateway-bench %s [flags] [scenario ...]\n\n%s\n\nScenarios:\n", name, about)
		names, abouts := load.Names()
		for i := range names {
			fmt.Fprintf(stderr, "  %-15s %s\n", names[i], abouts[i])
		}
		fmt.Fprintln(stderr, "\nFlags:")
		fs.PrintDefaults()
		if name == "run" {
			fmt.Fprint(stderr, "\nOther programs:\n", load.Protocol)
		}
	}
	fs.StringVar(&o.Gateway, "gateway", "", "`file` of the gateway (default: the one beside this program, or in the working directory's bin)")
	fs.Var(&f.env, "env", "`NAME=value` in the environment of the gateway; may be given more than once")
	fs.DurationVar(&o.Window, "window", 8*time.Second, "how long a scenario at a rate is measured")
	fs.DurationVar(&o.Warmup, "warmup", 3*time.Second, "how long it runs before")
	fs.IntVar(&o.Guilds, "guilds", 36, "`MiB` of guilds on each shard in the scenario guilds")
	return fs
}

func runRun(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	var o load.Options
	var f runFlags
	fs := runFlagSet("run", "Measures the gateway, and other programs beside it, under the load of a simulated Discord.", &o, &f, stderr)
	fs.IntVar(&o.Repeat, "repeat", 3, "how often each is measured, in turn with the others")
	fs.BoolVar(&o.Quick, "quick", false, "few scenarios, once and shortly: to see that it works")
	fs.BoolVar(&o.GatewayOnly, "only", false, "only the gateway with its epoll reader")
	fs.Var(&f.peers, "peer", "`name=command` of another program to measure in the same run; may be given more than once.\n'gateway-bench help run' says what it has to do")
	fs.BoolVar(&f.all, "peers", false, "measure what is in bench/peers/bin, too: `make peers` builds it")
	fs.StringVar(&f.spectacles, "spectacles", "", "`file` of spec-tacles/gateway, to be measured in the same run")
	fs.StringVar(&f.json, "json", "", "`file` to write the results to, for compare")
	fs.StringVar(&f.html, "html", "", "`file` to write a page with plots to")
	if err := parse(fs, args); err != nil {
		return err
	}
	cleanup, err := f.apply(ctx, &o, fs.Args())
	if err != nil {
		return err
	}
	defer cleanup()
	for _, file := range []string{f.json, f.html} {
		if err := writable(file); err != nil {
			return usageError{err}
		}
	}
	o.Progress = stderr
	r, stopped := load.Run(ctx, o)
	if r == nil {
		return stopped
	}
	if err := errors.Join(r.WriteTable(stdout), save(f.json, r.WriteJSON), save(f.html, r.WriteHTML)); err != nil {
		return err
	}
	if stopped != nil {
		return errors.New("interrupted: what was measured by then is above")
	}
	for _, s := range r.Scenarios {
		for _, subject := range s.Subjects {
			for _, run := range subject.Runs {
				if run.Failure != "" && subject.Gateway {
					return fmt.Errorf("%s, %s: %s", s.Name, subject.Name, run.Failure)
				}
			}
		}
	}
	return nil
}

// parse parses the arguments. The flags are listed if that is asked for; a mistake
// is reported in a line.
func parse(fs *flag.FlagSet, args []string) error {
	stderr, usage := fs.Output(), fs.Usage
	fs.SetOutput(io.Discard)
	fs.Usage = func() {}
	err := fs.Parse(args)
	switch {
	case errors.Is(err, flag.ErrHelp):
		fs.SetOutput(stderr)
		usage()
	case err != nil:
		err = usageError{fmt.Errorf("%w; %s -h lists the flags", err, fs.Name())}
	}
	return err
}

// apply sets the options that need more than a flag, and checks all. cleanup
// removes what it made, when the options are of no more use.
func (f *runFlags) apply(ctx context.Context, o *load.Options, scenarios []string) (cleanup func(), err error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	remove := func() {}
	defer func() {
		if err != nil {
			remove()
		}
	}()
	o.Simulator = []string{self, "simulator"}
	o.Scenarios = scenarios
	o.Env = f.env
	for _, p := range f.peers {
		name, command, ok := strings.Cut(p, "=")
		fields := strings.Fields(command)
		if !ok || len(fields) == 0 {
			return nil, usageError{fmt.Errorf("-peer %q is not name=command", p)}
		}
		o.Peers = append(o.Peers, load.Subject{Name: name, Command: fields})
	}
	if f.all {
		found := builtPeers(self)
		if found == nil {
			return nil, usageError{errors.New("-peers: there is nothing in bench/peers/bin; `make peers` builds it")}
		}
		o.Peers = append(o.Peers, found...)
	}
	if f.spectacles != "" {
		o.Peers = append(o.Peers, load.Spectacles(f.spectacles))
	}
	for _, e := range f.env {
		if !strings.Contains(e, "=") {
			return nil, usageError{fmt.Errorf("-env %q is not NAME=value", e)}
		}
	}
	if o.Gateway == "" {
		for _, dir := range []string{filepath.Dir(self), "bin"} {
			if name := filepath.Join(dir, "gateway"); isProgram(name) {
				o.Gateway = name
				break
			}
		}
	}
	if err := o.Check(); err != nil {
		return nil, usageError{err}
	}
	if o.Gateway == "" {
		dir, err := os.MkdirTemp("", "gateway-bench-")
		if err != nil {
			return nil, err
		}
		remove = func() { os.RemoveAll(dir) }
		o.Gateway = filepath.Join(dir, "gateway")
		if exec.CommandContext(ctx, "go", "build", "-buildvcs=false", "-o", o.Gateway, "sluice/cmd/gateway").Run() != nil { // outside the repository
			return nil, usageError{errors.New("no gateway found; build it with `make build`, or name its file with -gateway")}
		}
	}
	for _, file := range append([]string{o.Gateway}, firsts(o.Peers)...) {
		if _, err := exec.LookPath(file); err != nil {
			return nil, usageError{fmt.Errorf("%s can't be run: %w", file, err)}
		}
	}
	version, err := exec.CommandContext(ctx, o.Gateway, "version").Output()
	switch {
	case ctx.Err() != nil:
		return nil, ctx.Err()
	case err != nil:
		return nil, usageError{fmt.Errorf("%s does not print its version: %w", o.Gateway, err)}
	}
	o.Version = strings.TrimPrefix(strings.TrimSpace(string(version)), "gateway ")
	return remove, nil
}

// builtPeers returns the programs in bench/peers/bin of the working directory, or
// of the repository in whose bin this program is.
func builtPeers(self string) (peers []load.Subject) {
	for _, root := range []string{".", filepath.Dir(filepath.Dir(self))} {
		files, _ := filepath.Glob(filepath.Join(root, "bench", "peers", "bin", "*"))
		for _, file := range files {
			if file, err := filepath.Abs(file); err == nil && isProgram(file) {
				peers = append(peers, load.Subject{Name: filepath.Base(file), Command: []string{file}})
			}
		}
		if peers != nil {
			break
		}
	}
	return peers
}

func isProgram(name string) bool {
	info, err := os.Stat(name)
	return err == nil && info.Mode().IsRegular() && info.Mode()&0o111 != 0
}

// firsts returns the programs of subjects.
func firsts(subjects []load.Subject) (names []string) {
	for _, s := range subjects {
		names = append(names, s.Command[0])
	}
	return names
}

// writable returns an error if no file can be written there, unless the name is
// empty: it would be a pity after half an hour. The file's content stays.
func writable(name string) error {
	if name == "" {
		return nil
	}
	_, absent := os.Stat(name)
	f, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE, 0o666)
	if err != nil {
		return err
	}
	if err = f.Close(); absent != nil {
		err = errors.Join(err, os.Remove(name))
	}
	return err
}

// save writes a file, unless its name is empty.
func save(name string, write func(io.Writer) error) error {
	if name == "" {
		return nil
	}
	f, err := os.Create(name)
	if err != nil {
		return err
	}
	return errors.Join(write(f), f.Close())
}

func runCompare(_ context.Context, args []string, stdout, stderr io.Writer) error {
	fs := flag.NewFlagSet("gateway-bench compare", flag.ContinueOnError)
	fs.SetOutput(stderr)
	fs.Usage = func() {
		fmt.Fprintln(stderr, "usage: gateway-bench compare before.json after.json\n\nSays what has changed between two results of run, and whether it is more than noise.")
	}
	if err := parse(fs, args); err != nil {
		return err
	}
	if fs.NArg() != 2 {
		return usageError{fmt.Errorf("two files are compared, got %d", fs.NArg())}
	}
	var reports [2]*report.Report
	for i, name := range fs.Args() {
		f, err := os.Open(name)
		if err != nil {
			return usageError{err}
		}
		r, err := report.Read(f)
		f.Close()
		if err != nil {
			return usageError{fmt.Errorf("%s: %w", name, err)}
		}
		reports[i] = r
	}
	return report.Compare(stdout, reports[0], reports[1])
}

// runSimulator is the simulator of "run": not for people.
func runSimulator(ctx context.Context, args []string, stdout, _ io.Writer) error {
	if len(args) > 0 {
		return usageError{errors.New("no arguments are taken")}
	}
	return load.ServeSim(ctx, os.Stdin, stdout)
}

// runRedisLoop is a baseline of "run": not for people.
func runRedisLoop(ctx context.Context, args []string, _, _ io.Writer) error {
	if len(args) != 2 {
		return usageError{errors.New("the address of Redis is wanted, and the number of events")}
	}
	events, err := strconv.Atoi(args[1])
	if err != nil {
		return usageError{err}
	}
	return load.RedisLoop(ctx, args[0], events)
}

// runAMQPLoop is a baseline of "run": not for people.
func runAMQPLoop(ctx context.Context, args []string, _, _ io.Writer) error {
	if len(args) != 3 {
		return usageError{errors.New("the address of RabbitMQ is wanted, the number of events, and how many a second")}
	}
	events, err := strconv.Atoi(args[1])
	if err != nil {
		return usageError{err}
	}
	rate, err := strconv.ParseFloat(args[2], 64)
	if err != nil {
		return usageError{err}
	}
	return load.AMQPLoop(ctx, args[0], events, rate)
}
