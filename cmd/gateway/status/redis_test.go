//go:build unix

package status

import (
	"context"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"sluice/bench/sim"
	"sluice/engine"
	"sluice/resume"
	"sluice/resume/file"
	values "sluice/sinks/broker"
	"sluice/sinks/redis"
	"sluice/sinks/sinktest/redistest"
	"sluice/sinks/spool"
	"sluice/wire"
)

// The document of a process with a real Redis, which goes away and comes back.
func TestRun(t *testing.T) {
	const shards = 3
	server := redistest.Start(t, "--appendonly", "yes") // what it has confirmed survives its restart
	srv, err := sim.New(sim.Options{Shards: shards, MaxConcurrency: shards, Rate: 100, ReplayLimit: 1 << 20, LargeEvery: -1})
	if err != nil {
		t.Fatal(err)
	}
	defer srv.Close()
	cfg := loadConfig(t, "BROKER_TYPE=redis", "REDIS_URL="+server.Addr, "SHARD_STORE_DIRECTORY="+t.TempDir())
	client, err := redis.NewClientOption([]string{server.Addr}, nil)
	if err != nil {
		t.Fatal(err)
	}
	sink, err := redis.New(redis.Options{Client: client, Bot: "1", Body: values.Format{}.Append, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	disk, err := spool.Open(spool.Options{Directory: t.TempDir(), Log: slog.New(slog.DiscardHandler)}, sink)
	if err != nil {
		t.Fatal(err)
	}
	store, err := file.Open(cfg.ShardStore.Directory, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	keeper := &resume.Keeper{Store: store, Bot: 1, Intents: wire.AllIntents, Log: slog.New(slog.DiscardHandler)}
	e, err := engine.New(engine.Options{
		Token: "sim-token", Intents: wire.AllIntents, Sink: disk, Checkpoints: keeper, CheckpointEvery: 100 * time.Millisecond,
		API: &wire.API{Base: srv.APIURL(), Token: "sim-token", Client: &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}},
	})
	if err != nil {
		t.Fatal(err)
	}
	s := &Source{
		Engine: e, Live: func() error { return e.Live(time.Now()) }, Sink: disk, Spool: SpoolOf(disk), Title: "Redis", Address: cfg.Redis.URLs[0].String(),
		Store: StoreOf(keeper), Config: cfg, Version: "v1.2.3", Started: time.Now(),
	}
	if d := s.Status(); d.Shards.Count != 0 || d.Health.Ready || !d.Health.Live || d.Broker.Available {
		t.Errorf("before the start: %+v", d)
	}
	ctx, stop := context.WithCancel(context.Background())
	var runs sync.WaitGroup
	runs.Go(func() { s.Run(ctx) })
	runs.Go(func() {
		if err := e.Run(ctx); err != nil {
			t.Errorf("Run: %v", err)
		}
	})
	defer runs.Wait()
	defer stop()
	until := func(what string, holds func(d *Status) bool) *Status {
		t.Helper()
		for end := time.Now().Add(2 * time.Minute); ; time.Sleep(20 * time.Millisecond) {
			d := s.Status()
			if holds(d) {
				return d
			}
			if time.Now().After(end) {
				t.Fatalf("no %s: %+v", what, d)
			}
		}
	}

	d := until("readiness, figures and a checkpoint", func(d *Status) bool {
		return d.Health.Ready && d.Events.Rate > 0 && d.Events.Lag.Max > 0 && d.Shards.List[2].Rate > 0 && d.Store.Checkpoint > 0 && d.Broker.Published > 0
	})
	if d.Shards.Count != shards || d.Shards.Run != shards || d.Shards.Ready != shards || d.Shards.States["ready"] != shards || len(d.Shards.Ended) > 0 {
		t.Errorf("%+v", d.Shards)
	}
	for id, shard := range d.Shards.List {
		if shard.ID != id || shard.State != "ready" || shard.Why != "" || !strings.HasSuffix(shard.Session, "…") || shard.Seq == 0 || shard.Events != shard.Seq ||
			shard.LastEvent == 0 || shard.Reconnects != 0 {
			t.Errorf("%+v", shard)
		}
	}
	if b := d.Broker; b.Type != "redis" || b.Address != server.Addr || !b.Available || b.Error != "" || b.Unavailable != 0 {
		t.Errorf("%+v", b)
	}
	if i := d.Identify; !i.Known || i.MaxConcurrency != shards || i.Total != 1000 || i.Left != 1000-shards || i.Reset == nil {
		t.Errorf("%+v", i)
	}
	if d.Store.Type != "file" || !d.Store.Available || d.Events.Lost != 0 || d.Events.Gaps != 0 {
		t.Errorf("%+v, %+v", d.Store, d.Events)
	}

	server.Stop()
	d = until("an unavailable broker", func(d *Status) bool { return !d.Broker.Available })
	if d.Health.Ready || !d.Health.Live || d.Broker.Error == "" {
		t.Errorf("%+v, %+v", d.Health, d.Broker)
	}
	srv.Cut(1, true)
	d = until("a resumed shard and events on the disk", func(d *Status) bool {
		return d.Shards.List[1].Reconnects == 1 && d.Shards.Ready == shards && d.Spool.Active && d.Spool.Bytes > 10_000
	})
	if x := d.Shards; len(x.Ended) != 1 || x.Ended[0].Cause != "connection lost" || x.Ended[0].Count != 1 || x.List[1].Cause != "connection lost" {
		t.Errorf("%+v", x)
	}
	if d.Spool.Oldest == 0 || d.Spool.MaxBytes != 10<<30 || d.Broker.Unavailable == 0 {
		t.Errorf("%+v, %+v", d.Spool, d.Broker)
	}
	server.Restart()
	until("an available broker", func(d *Status) bool { return d.Broker.Available && d.Health.Ready })

	srv.Silence()
	sent := int64(0)
	until("every event in Redis", func(d *Status) bool {
		sent = 0
		for id := range shards {
			sent += srv.Seq(id)
		}
		return d.Broker.Published == sent && d.Queue.Events == 0 && !d.Spool.Active
	})
	d = s.Status()
	if d.Events.Received != sent || d.Events.Lost != 0 {
		t.Errorf("%d events were sent: %+v", sent, d.Events)
	}
	names := int64(0)
	for _, n := range d.Events.ByName {
		names += n.Count
	}
	if names != sent {
		t.Errorf("%d events by name, of %d", names, sent)
	}
}
