// The program redis is a bot's consumer for Redis: it prints each event of the names that it
// is given.
//
//	REDIS_URL=redis://localhost:6379 go run ./redis MESSAGE_CREATE INTERACTION_CREATE
package main

import (
	"cmp"
	"context"
	"fmt"
	"log"
	"os"

	"github.com/redis/rueidis"

	consumers "sluice/docs/consumers/go"
)

func main() {
	if err := run(context.Background(), os.Args[1:]); err != nil {
		log.Fatal(err)
	}
}

func run(ctx context.Context, streams []string) error {
	o, err := rueidis.ParseURL(cmp.Or(os.Getenv("REDIS_URL"), "redis://localhost:6379"))
	if err != nil {
		return err
	}
	o.DisableCache = true
	c, err := rueidis.NewClient(o)
	if err != nil {
		return err
	}
	defer c.Close()
	group, consumer := "bots", fmt.Sprintf("bot-%d", os.Getpid())
	var fresh []string
	for _, stream := range streams {
		err := c.Do(ctx, c.B().XgroupCreate().Key(stream).Group(group).Id("0").Mkstream().Build()).Error()
		if err != nil && !rueidis.IsRedisBusyGroup(err) { // it is there already
			return err
		}
		fresh = append(fresh, ">")
	}
	// A command for the shard of a guild: {"guild_id":"…","packet":{"op":…,"d":…}}
	if command := os.Getenv("COMMAND"); command != "" {
		if err := c.Do(ctx, c.B().Xadd().Key("SEND").Id("*").FieldValue().FieldValue("data", command).Build()).Error(); err != nil {
			return err
		}
	}
	seen := make(consumers.Seen)
	for {
		got, err := c.Do(ctx, c.B().Xreadgroup().Group(group, consumer).Count(100).Block(1000).Streams().Key(streams...).Id(fresh...).Build()).AsXRead()
		if rueidis.IsRedisNil(err) {
			continue // nothing came within the second
		}
		if err != nil {
			return err
		}
		for stream, entries := range got {
			for _, e := range entries {
				f := e.FieldValues
				if !seen.Has(stream, f["shard"], f["session"], f["seq"]) {
					if err := consumers.Print(stream, []byte(f["data"])); err != nil {
						return err
					}
				}
				// After the work: what was not acknowledged is not lost.
				if err := c.Do(ctx, c.B().Xack().Key(stream).Group(group).Id(e.ID).Build()).Error(); err != nil {
					return err
				}
			}
		}
	}
}
