// This file is "gateway-bench crash".

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
	"slices"
	"strings"

	"sluice/bench/crash"
)

func runCrash(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	o := crash.Options{Log: stdout}
	seeds, quiet := 1, false
	fs := flag.NewFlagSet("gateway-bench crash", flag.ContinueOnError)
	fs.SetOutput(stderr)
	fs.Usage = func() {
		fmt.Fprint(stderr, "usage: gateway-bench crash [flags]\n\nKills the gateway again and again under a simulated Discord and a real broker, and compares what\nwas sent with what has arrived. A failing seed replays what happens when, but for the machine's own timing.\n\nFlags:\n")
		fs.PrintDefaults()
	}
	fs.StringVar(&o.Gateway, "gateway", "", "`file` of the gateway (default: it is built, with the points to end at)")
	fs.StringVar(&o.Sink, "sink", "redis", "where events go: "+strings.Join(crash.Sinks(), ", "))
	fs.StringVar(&o.Store, "store", "file", "where sessions are kept: "+strings.Join(crash.Stores(), ", ")+"; any but file needs the sink of that name")
	fs.IntVar(&o.Kills, "kills", 100, "how often it is killed")
	fs.IntVar(&o.Restarts, "restarts", 0, "how often it is ended in an orderly way besides, or hands over to itself, by turns")
	fs.Uint64Var(&o.Seed, "seed", 1, "of what happens when")
	fs.IntVar(&seeds, "seeds", 1, "so many runs, with the seeds from -seed on")
	fs.IntVar(&o.Shards, "shards", 4, "shards")
	fs.Float64Var(&o.Rate, "rate", 250, "events a second of each shard")
	fs.BoolVar(&o.Faults, "faults", false, "sockets cut, op 7, op 9, sessions refused, broker killed, process stopped besides")
	fs.BoolVar(&o.Spool, "spool", false, "with a spool, and rounds without the broker; needs a rate of 1000 or more to be used")
	fs.BoolVar(&quiet, "quiet", false, "no line for each round")
	if err := parse(fs, args); err != nil {
		return err
	}
	switch {
	case fs.NArg() > 0:
		return usageError{fmt.Errorf("unexpected %q", fs.Arg(0))}
	case !slices.Contains(crash.Sinks(), o.Sink):
		return usageError{fmt.Errorf("-sink %q is none of %s", o.Sink, strings.Join(crash.Sinks(), ", "))}
	case !slices.Contains(crash.Stores(), o.Store):
		return usageError{fmt.Errorf("-store %q is none of %s", o.Store, strings.Join(crash.Stores(), ", "))}
	case o.Store != "file" && o.Store != o.Sink:
		return usageError{fmt.Errorf("-store %s needs -sink %[1]s, whose server it is", o.Store)}
	case o.Kills < 0 || o.Restarts < 0 || o.Restarts > 0 && o.Kills > 0 || o.Shards < 1 || o.Rate <= 0 || seeds < 1:
		return usageError{errors.New("-kills, -restarts, -shards, -rate and -seeds are positive, and -restarts goes with -kills 0")}
	}
	file, remove, err := builtGateway(ctx, o.Gateway)
	if err != nil {
		return err
	}
	defer remove()
	o.Gateway = file
	if quiet {
		o.Log = nil
	}
	for range seeds {
		r, err := crash.Run(ctx, o)
		if err != nil {
			return err
		}
		fmt.Fprintf(stdout, "seed %d, %s, sessions in %s: %v\n", o.Seed, o.Sink, o.Store, &r)
		if err := r.Check(o.Sink); err != nil {
			return fmt.Errorf("seed %d: %w", o.Seed, err)
		}
		o.Seed++
	}
	return nil
}

// builtGateway returns the file of the gateway that was named, or of one that it builds, with the points to
// end at. remove is to be called in the end.
func builtGateway(ctx context.Context, named string) (file string, remove func(), err error) {
	if named != "" {
		file, err = filepath.Abs(named)
		return file, func() {}, err
	}
	dir, err := os.MkdirTemp("", "gateway-bench-")
	if err != nil {
		return "", nil, err
	}
	file = filepath.Join(dir, "gateway")
	if out, err := exec.CommandContext(ctx, "go", "build", "-buildvcs=false", "-tags", "failpoints", "-o", file, "sluice/cmd/gateway").CombinedOutput(); err != nil {
		os.RemoveAll(dir)
		return "", nil, fmt.Errorf("build the gateway: %w; run it inside the repository, or name a file with -gateway\n%s", err, out)
	}
	return file, func() { os.RemoveAll(dir) }, nil
}
