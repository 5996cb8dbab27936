// This file is "gateway-bench reshard".

package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"slices"

	"sluice/bench/crash"
)

func runReshard(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	o := crash.ReshardOptions{Log: stdout}
	fs := flag.NewFlagSet("gateway-bench reshard", flag.ContinueOnError)
	fs.SetOutput(stderr)
	fs.Usage = func() {
		fmt.Fprint(stderr, "usage: gateway-bench reshard [flags]\n\nHas a bot get another shard count, to and fro, under load, kills the gateway meanwhile, and compares for each\nguild what happened with what has arrived. With -members, gateways that share the bot do it together.\n\nFlags:\n")
		fs.PrintDefaults()
	}
	fs.StringVar(&o.Gateway, "gateway", "", "`file` of the gateway (default: it is built)")
	fs.StringVar(&o.Sink, "sink", "redis", "where events go: redis, amqp or file")
	fs.StringVar(&o.Store, "store", "redis", "where sessions are persisted: redis or file")
	fs.IntVar(&o.From, "from", 16, "shards at the beginning")
	fs.IntVar(&o.To, "to", 24, "shards to be")
	fs.Float64Var(&o.Rate, "rate", 2000, "events a second of all guilds")
	fs.IntVar(&o.Rounds, "rounds", 2, "how often it is resharded, to and fro")
	fs.IntVar(&o.Kills, "kills", 2, "how often the gateway is killed in the middle of that")
	fs.IntVar(&o.Members, "members", 0, "gateways that share the bot (default: one has it alone)")
	fs.IntVar(&o.Drains, "drains", 0, "with -members, how often one gets SIGTERM in the middle of that, and another comes")
	fs.IntVar(&o.Stops, "stops", 0, "with -members, how often one is stopped for 2 to 15 s")
	fs.IntVar(&o.Cuts, "cuts", 0, "with -members, how often one is cut off from Redis for 2 to 15 s")
	fs.IntVar(&o.Cancels, "cancels", 0, "with -members, how often one calls it off, after which it is begun again")
	fs.Uint64Var(&o.Seed, "seed", 1, "of what happens when")
	if err := parse(fs, args); err != nil {
		return err
	}
	switch {
	case fs.NArg() > 0:
		return usageError{fmt.Errorf("unexpected %q", fs.Arg(0))}
	case !slices.Contains(crash.Sinks(), o.Sink):
		return usageError{fmt.Errorf("-sink %q is none of redis, amqp, file", o.Sink)}
	case o.Store != "redis" && o.Store != "file" || o.Store == "redis" && o.Sink != "redis" && o.Members == 0:
		return usageError{errors.New("-store is file, or, with -sink redis, redis")}
	case o.Members > 0 && (o.Sink == "file" || o.Store != "redis" && o.Sink == "redis"):
		return usageError{errors.New("-members needs a broker, and has its sessions in Redis")}
	case o.Members < 0 || o.Drains < 0 || o.Stops < 0 || o.Cuts < 0 || o.Cancels < 0 || o.Members == 0 && o.Drains+o.Stops+o.Cuts+o.Cancels > 0:
		return usageError{errors.New("-drains, -stops, -cuts and -cancels need -members, and none is negative")}
	case o.From < 1 || o.To < 1 || o.From == o.To || o.Rate <= 0 || o.Rounds < 1 || o.Kills < 0:
		return usageError{errors.New("-from and -to are two shard counts; -rate and -rounds are above 0, and -kills is not below")}
	}
	file, remove, err := builtGateway(ctx, o.Gateway)
	if err != nil {
		return err
	}
	defer remove()
	o.Gateway = file
	r, err := crash.RunReshard(ctx, o)
	if err != nil {
		return err
	}
	fmt.Fprintf(stdout, "seed %d, %d to %d shards, %s: %v\n", o.Seed, o.From, o.To, o.Sink, &r)
	return r.Check()
}
