// The program redis is a bot's consumer for Redis: it prints each event of the streams that it
// is given.
//
//	REDIS_URL=localhost:6379 go run ./redis MESSAGE_CREATE INTERACTION_CREATE
package main

import (
	"cmp"
	"context"
	"errors"
	"log"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/redis/rueidis"

	consumers "sluice/docs/consumers/go"
)

// bot is a consumer of a group. What comes of the events is in the same Redis, a stream of which they
// were, and belongs into one transaction with the acknowledgements.
type bot struct {
	c           rueidis.Client
	streams     []string
	group, name string
	claimAfter  time.Duration
}

func main() {
	url := consumers.Setting("REDIS_URL", "redis://localhost:6379")
	if !strings.Contains(url, "://") { // as the gateway takes it, too
		url = "redis://" + url
	}
	o, err := rueidis.ParseURL(url)
	if err != nil {
		log.Fatal(err)
	}
	o.DisableCache, o.ForceSingleClient = true, true
	// The name stays the same when the process starts again: it finds what it has not acknowledged.
	b := &bot{streams: consumers.Names(), group: consumers.Setting("GROUP", "bots"), name: consumers.Setting("BOT_NAME", consumers.Host())}
	// Longer than any work takes: others do it then.
	if b.claimAfter, err = consumers.Seconds("CLAIM_AFTER", "60"); err != nil {
		log.Fatal(err)
	}
	ctx, command := context.Background(), os.Getenv("COMMAND")
	for {
		if b.c, err = rueidis.NewClient(o); err == nil {
			err = b.serve(ctx, &command)
			b.c.Close()
		}
		log.Printf("again in a second: %v", err)
		time.Sleep(time.Second)
	}
}

// serve reads until something fails.
func (b *bot) serve(ctx context.Context, command *string) error {
	for _, stream := range b.streams {
		err := b.c.Do(ctx, b.c.B().XgroupCreate().Key(stream).Group(b.group).Id("0").Mkstream().Build()).Error()
		if err != nil && !rueidis.IsRedisBusyGroup(err) { // it is there already
			return err
		}
	}
	// A command for the shard of a guild: {"guild_id":"…","packet":{"op":…,"d":…}}
	if *command != "" {
		if err := b.c.Do(ctx, b.c.B().Xadd().Key("SEND").Id("*").FieldValue().FieldValue("data", *command).Build()).Error(); err != nil {
			return err
		}
		*command = ""
	}
	for own := true; own; { // what was in flight when the last process of this name ended
		n, err := b.read(ctx, "0")
		if err != nil {
			return err
		}
		own = n > 0
	}
	var claimed time.Time
	for {
		if time.Since(claimed) > b.claimAfter/2 { // what others have left lying
			if err := b.claim(ctx); err != nil {
				return err
			}
			claimed = time.Now()
		}
		if _, err := b.read(ctx, ">"); err != nil {
			return err
		}
	}
}

// read processes entries: those that are new, ">", or from "0" on those delivered to this name before.
func (b *bot) read(ctx context.Context, from string) (n int, err error) {
	ids := make([]string, len(b.streams))
	for i := range ids {
		ids[i] = from
	}
	got, err := b.c.Do(ctx, b.c.B().Xreadgroup().Group(b.group, b.name).Count(100).Block(1000).Streams().Key(b.streams...).Id(ids...).Build()).AsXRead()
	if rueidis.IsRedisNil(err) {
		return 0, nil // nothing came within the second
	}
	if err != nil {
		return 0, err
	}
	for stream, entries := range got {
		if n += len(entries); len(entries) == 0 {
			delete(got, stream) // from "0" on, streams without any are in the answer
		}
	}
	if n == 0 {
		return 0, nil
	}
	return n, b.process(ctx, got)
}

// claim takes the entries over that nobody has acknowledged for long.
func (b *bot) claim(ctx context.Context) error {
	for _, stream := range b.streams {
		for from := "0-0"; ; {
			answer, err := b.c.Do(ctx, b.c.B().Xautoclaim().Key(stream).Group(b.group).Consumer(b.name).
				MinIdleTime(strconv.FormatInt(b.claimAfter.Milliseconds(), 10)).Start(from).Count(100).Build()).ToArray()
			if err != nil || len(answer) < 2 {
				return cmp.Or(err, errors.New("XAUTOCLAIM has answered with nothing"))
			}
			if from, err = answer[0].ToString(); err != nil {
				return err
			}
			entries, err := answer[1].ToArray()
			if err != nil {
				return err
			}
			var claimed []rueidis.XRangeEntry
			for _, e := range entries {
				if e.IsNil() {
					continue // trimmed; Redis before 7
				}
				entry, err := e.AsXRangeEntry()
				if err != nil {
					return err
				}
				claimed = append(claimed, entry)
			}
			if len(claimed) > 0 {
				if err := b.process(ctx, map[string][]rueidis.XRangeEntry{stream: claimed}); err != nil {
					return err
				}
			}
			if from == "0-0" {
				break
			}
		}
	}
	return nil
}

// process works on entries that have not been processed. Of the effects in Redis there is one, whoever
// else of the group has the same entries: the transaction fails if the Seen of a shard is another meanwhile.
func (b *bot) process(ctx context.Context, got map[string][]rueidis.XRangeEntry) error {
	events := make(map[string][]consumers.Event, len(got))
	seen := map[int]*consumers.Seen{}
	for stream, entries := range got {
		for _, e := range entries {
			f := e.FieldValues
			event := consumers.Named(cmp.Or(f["event"], stream), []byte(f["data"]), f["shard"], f["session"], f["seq"])
			events[stream] = append(events[stream], event)
			seen[event.Shard] = nil
		}
	}
	for {
		done := false
		err := b.c.Dedicated(func(c rueidis.DedicatedClient) (err error) {
			done, err = b.transaction(ctx, c, got, events, seen)
			return err
		})
		if err != nil || done {
			return err
		}
	}
}

// transaction returns false if it has to be tried again.
func (b *bot) transaction(ctx context.Context, c rueidis.DedicatedClient, got map[string][]rueidis.XRangeEntry, events map[string][]consumers.Event, seen map[int]*consumers.Seen) (done bool, err error) {
	key := func(shard int) string { return b.group + ":seen:" + strconv.Itoa(shard) }
	for shard := range seen {
		if err := c.Do(ctx, c.B().Watch().Key(key(shard)).Build()).Error(); err != nil {
			return false, err
		}
		text, err := c.Do(ctx, c.B().Get().Key(key(shard)).Build()).ToString()
		if err != nil && !rueidis.IsRedisNil(err) {
			return false, err
		}
		if seen[shard], err = consumers.ParseSeen(text); err != nil {
			return false, err
		}
	}
	commands := []rueidis.Completed{c.B().Multi().Build()}
	for stream, entries := range got {
		ids := make([]string, len(entries))
		for i, e := range entries {
			ids[i] = e.ID
			event := &events[stream][i]
			if len(e.FieldValues) == 0 {
				log.Printf("%s %s was trimmed before it was processed", stream, e.ID)
				continue
			}
			if seen[event.Shard].Has(event.Session, event.Seq) {
				continue
			}
			event.Work()
			seen[event.Shard].Add(event.Session, event.Seq)
			commands = append(commands, c.B().Xadd().Key(b.group+":log").Maxlen().Almost().Threshold("1000000").Id("*").FieldValue().FieldValue("event", event.Name).
				FieldValue("shard", strconv.Itoa(event.Shard)).FieldValue("session", event.Session).FieldValue("seq", strconv.FormatInt(event.Seq, 10)).Build())
		}
		// After the work: what was not acknowledged is not lost.
		commands = append(commands, c.B().Xack().Key(stream).Group(b.group).Id(ids...).Build())
	}
	for shard, s := range seen {
		commands = append(commands, c.B().Set().Key(key(shard)).Value(s.String()).Build())
	}
	answers := c.DoMulti(ctx, append(commands, c.B().Exec().Build())...)
	for _, a := range answers[:len(answers)-1] {
		if err := a.Error(); err != nil {
			return false, err
		}
	}
	results, err := answers[len(answers)-1].ToArray()
	if rueidis.IsRedisNil(err) {
		return false, nil
	}
	for _, r := range results {
		err = cmp.Or(err, r.Error())
	}
	return err == nil, err
}
