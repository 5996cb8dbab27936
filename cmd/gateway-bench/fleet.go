// This file is "gateway-bench fleet".

package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"slices"
	"strings"

	"sluice/bench/crash"
)

func runFleet(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	o := crash.FleetOptions{Log: stdout}
	fs := flag.NewFlagSet("gateway-bench fleet", flag.ContinueOnError)
	fs.SetOutput(stderr)
	fs.Usage = func() {
		fmt.Fprint(stderr, "usage: gateway-bench fleet [flags]\n\nRuns several gateways that share the shards of one bot, under a simulated Discord and a real broker. It kills\nthem, stops them for a while and restarts them, and compares what was sent with what has arrived.\n\nFlags:\n")
		fs.PrintDefaults()
	}
	fs.StringVar(&o.Gateway, "gateway", "", "`file` of the gateway (default: it is built)")
	fs.StringVar(&o.Sink, "sink", "redis", "where events go: redis or amqp")
	fs.IntVar(&o.Members, "members", 5, "gateways")
	fs.IntVar(&o.Shards, "shards", 64, "shards")
	fs.Float64Var(&o.Rate, "rate", 0, "events a second of each shard (default: 5000 of all)")
	fs.IntVar(&o.Kills, "kills", 20, "how often one is killed")
	fs.IntVar(&o.Stops, "stops", 0, "how often one is stopped for 5 to 20 s")
	fs.IntVar(&o.Cuts, "cuts", 0, "how often one is cut off from Redis for 5 to 20 s")
	fs.IntVar(&o.Lonely, "lonely", 0, "how often one is cut off from Discord for 5 to 60 s")
	fs.IntVar(&o.Reboots, "reboots", 0, "how often the fleet's Redis, which has everything on its disk, is killed, and started again within 5 s")
	fs.BoolVar(&o.Promote, "promote", false, "have a replica of the fleet's Redis fall behind, and a Sentinel promote it")
	fs.IntVar(&o.Outages, "outages", 0, "how often one is cut off from Redis while RabbitMQ is gone, and until it is back")
	fs.IntVar(&o.Rolls, "rolls", 0, "how often all are restarted with SIGTERM, one after the other")
	fs.IntVar(&o.Joins, "joins", 0, "how many new ones come at once, besides")
	fs.StringVar(&o.Old, "old", "", "what becomes of the open connection of a session that is resumed: "+strings.Join(crash.Olds(), ", ")+" (default: it ends)")
	fs.Uint64Var(&o.Seed, "seed", 1, "of what happens when")
	if err := parse(fs, args); err != nil {
		return err
	}
	switch {
	case fs.NArg() > 0:
		return usageError{fmt.Errorf("unexpected %q", fs.Arg(0))}
	case !slices.Contains([]string{"redis", "amqp"}, o.Sink):
		return usageError{fmt.Errorf("-sink %q is none of redis, amqp", o.Sink)}
	case o.Old != "" && !slices.Contains(crash.Olds(), o.Old):
		return usageError{fmt.Errorf("-old %q is none of %s", o.Old, strings.Join(crash.Olds(), ", "))}
	case o.Outages > 0 && o.Sink == "redis":
		return usageError{errors.New("-outages needs a broker that is not the fleet's own Redis: -sink amqp")}
	case o.Promote && (o.Sink != "redis" || o.Cuts+o.Reboots > 0):
		return usageError{errors.New("-promote needs -sink redis, without -cuts and -reboots: members find their Redis by the Sentinel")}
	case o.Members < 1 || o.Shards < 1 || o.Rate < 0 || o.Kills < 0 || o.Stops < 0 || o.Cuts < 0 || o.Lonely < 0 || o.Reboots < 0 || o.Outages < 0 || o.Rolls < 0 || o.Joins < 0:
		return usageError{errors.New("-members, -shards, -rate, -kills, -stops, -cuts, -lonely, -reboots, -outages, -rolls and -joins are not negative")}
	}
	file, remove, err := builtGateway(ctx, o.Gateway)
	if err != nil {
		return err
	}
	defer remove()
	o.Gateway = file
	r, err := crash.RunFleet(ctx, o)
	if err != nil {
		return err
	}
	fmt.Fprintf(stdout, "seed %d, %s: %v\n", o.Seed, o.Sink, &r)
	if err := r.Check(); err != nil {
		return fmt.Errorf("seed %d: %w", o.Seed, err)
	}
	return nil
}
