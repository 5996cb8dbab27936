// This file is the table of scenarios.

package load

import "time"

// kind is what is done in a scenario's window.
type kind int

const (
	kindLoad      kind = iota // events arrive, at a rate or as fast as they are read
	kindIdle                  // nothing but heartbeats
	kindGuilds                // from the first connection until all guilds have arrived
	kindBeside                // shard 0 gets large guilds, the others nothing
	kindReconnect             // every shard is cut at once
	kindSoak                  // events at a rate, and a shard is cut now and then
)

// scenario is one kind of load.
type scenario struct {
	name, about  string
	kind         kind
	shards       int
	rate         float64 // events a second and shard, at random moments; negative: as many as are read
	even         bool    // but as evenly as timers can, at about the same moments on all shards
	tls          bool
	compressions []string    // the gateway is measured with each, peers with the first
	goroutine    bool        // the other reader is measured, too
	stores       bool        // so is the gateway with its sessions in a file
	observed     bool        // so is the gateway with all that observes it
	peers        bool        // so are the other programs
	env          []string    // of the gateway
	broker       *brokerKind // events go to one of the run's own; nil: to the program's output
	guilds       int         // for each shard
	guildBytes   int
	heartbeat    time.Duration
	quick        bool // part of a quick run
	named        bool // runs only when it is named
}

const (
	none = "none"
	zstd = "zstd-stream"
)

// scenarios are in the order in which they run.
var scenarios = []scenario{
	{name: "flood-1", about: "One shard over TLS gets events as fast as it reads them.", quick: true,
		shards: 1, rate: -1, tls: true, compressions: []string{zstd}, goroutine: true, peers: true},
	{name: "flood-16", about: "16 shards over TLS get events as fast as they read them.",
		shards: 16, rate: -1, tls: true, compressions: []string{zstd}, goroutine: true, peers: true},
	{name: "rate-64", about: "20,000 events a second over 64 shards, without TLS and compression.", quick: true,
		shards: 64, rate: 312.5, compressions: []string{none}, goroutine: true, peers: true},
	{name: "rate-64-tls", about: "20,000 events a second over 64 shards, over TLS and compressed: what Discord sends.",
		shards: 64, rate: 312.5, tls: true, compressions: []string{zstd}, goroutine: true, peers: true},
	{name: "rate-1000", about: "100,000 events a second over 1,000 shards, without TLS.",
		shards: 1000, rate: 100, compressions: []string{none}},
	{name: "rate-20", about: "20 events a second on each of 1,000 shards, without TLS.",
		shards: 1000, rate: 20, compressions: []string{none}, goroutine: true, peers: true},
	{name: "rate-20-tls", about: "20 events a second on each of 1,000 shards, over TLS and compressed.",
		shards: 1000, rate: 20, tls: true, compressions: []string{zstd}, goroutine: true, peers: true},
	{name: "even-64-tls", about: "As rate-64-tls, but at even intervals, to all shards at about the same moments: by how much does that flatter? Runs only by name.",
		shards: 64, rate: 312.5, even: true, tls: true, compressions: []string{zstd}, goroutine: true, peers: true, named: true},
	{name: "idle-1000", about: "1,000 shards without TLS, nothing but heartbeats.", kind: kindIdle, quick: true,
		shards: 1000, compressions: []string{none, zstd}, goroutine: true, peers: true, heartbeat: 5 * time.Second},
	{name: "idle-1000-tls", about: "1,000 shards over TLS, nothing but heartbeats.", kind: kindIdle,
		shards: 1000, tls: true, compressions: []string{none, zstd}, goroutine: true, peers: true, heartbeat: 5 * time.Second},
	{name: "idle-10000", about: "10,000 shards without TLS, nothing but heartbeats.", kind: kindIdle,
		shards: 10_000, compressions: []string{none}, heartbeat: 10 * time.Second},
	{name: "idle-10000-tls", about: "10,000 shards over TLS, nothing but heartbeats.", kind: kindIdle,
		shards: 10_000, tls: true, compressions: []string{none}, heartbeat: 10 * time.Second},
	{name: "windows", about: "1,000 shards after 1 MB of guilds each, with the window of 256 KiB that zstd-stream obliges to.", kind: kindIdle,
		shards: 1000, compressions: []string{zstd}, guilds: 4, guildBytes: 256 << 10, heartbeat: 5 * time.Second},
	{name: "guilds", about: "64 shards over TLS start, with 36 MiB of guilds each.", kind: kindGuilds,
		shards: 64, tls: true, compressions: []string{zstd}, guilds: 36, guildBytes: 1 << 20, heartbeat: time.Second},
	{name: "beside", about: "One shard gets 36 MB of guilds at once, again and again; 63 others share its reader.", kind: kindBeside, quick: true,
		shards: 64, tls: true, compressions: []string{zstd}, env: []string{"READER_COUNT=1"}, guilds: 36, guildBytes: 1 << 20, heartbeat: 500 * time.Millisecond},
	{name: "big", about: "Guilds of 8 MiB on one shard over TLS.", kind: kindBeside,
		shards: 1, tls: true, compressions: []string{zstd, none}, guilds: 4, guildBytes: 8 << 20, heartbeat: time.Second},
	{name: "reconnect", about: "1,000 shards over TLS are cut at once.", kind: kindReconnect,
		shards: 1000, rate: 5, tls: true, compressions: []string{zstd}, goroutine: true},
	{name: "checkpoints", about: "20,000 events a second over 64 shards, without TLS and compression: with checkpoints in a file every 100 ms, and without.",
		shards: 64, rate: 312.5, compressions: []string{none}, stores: true},
	{name: "observed", about: "20,000 events a second over 64 shards, without TLS and compression: unobserved, and with metrics scraped each second, the page open and gateway top running.",
		shards: 64, rate: 312.5, compressions: []string{none}, observed: true},
	{name: "observed-1000", about: "20 events a second on each of 1,000 shards, without TLS and compression: unobserved, and with metrics scraped each second, the page open and gateway top running.",
		shards: 1000, rate: 20, compressions: []string{none}, observed: true},
	{name: "redis-flood", about: "One shard over TLS gets events as fast as Redis takes them; beside it, what writes as many entries without a gateway.",
		shards: 1, rate: -1, tls: true, compressions: []string{zstd}, broker: redisKind},
	{name: "redis-rate", about: "20,000 events a second over 64 shards, into one stream of Redis, from which a consumer reads.",
		shards: 64, rate: 312.5, compressions: []string{none}, broker: redisKind},
	{name: "amqp-flood", about: "One shard over TLS gets events as fast as RabbitMQ confirms them; beside it, a publisher without a gateway.",
		shards: 1, rate: -1, tls: true, compressions: []string{zstd}, broker: rabbitKind},
	{name: "amqp-rate", about: "8,000 events a second over 64 shards, into one queue of RabbitMQ, from which a consumer reads; beside it, a publisher of as many.",
		shards: 64, rate: 125, compressions: []string{none}, broker: rabbitKind},
	{name: "soak", about: "20,000 events a second over 64 shards over TLS, with cuts: does anything grow? For -window 1h; runs only by name.", kind: kindSoak,
		shards: 64, rate: 312.5, tls: true, compressions: []string{zstd}, named: true},
}
