// This file holds the settings of the simulated Discord and their defaults.

package sim

import (
	"log/slog"
	"net"
	"time"

	"sluice/wire"
)

// Options says how a Server behaves. The zero value is a bot with one shard, a
// few guilds and no traffic. Where a duration has a default, a negative one
// means none at all.
type Options struct {
	// Token is the bot's token; any other gets 401 or close 4004. Default
	// "sim-token".
	Token string
	// StrictResumeToken refuses a "Bot " in front of the token of a Resume
	// with op 9, as Discord did in 2019. Libraries do send it, so the default
	// tolerates it, as on Identify.
	StrictResumeToken bool

	// Shards is the count that GET /gateway/bot recommends. Default 1.
	Shards int
	// MaxConcurrency is the number of Identify buckets. Default 1.
	MaxConcurrency int
	// IdentifyWindow is how long a bucket stays taken. Default 5 s.
	IdentifyWindow time.Duration
	// IdentifyTotal is the number of Identifies in IdentifyReset. One more
	// kills all sessions and resets the token. Default 1000 in 24 h.
	IdentifyTotal int
	IdentifyReset time.Duration
	// RESTLimit is the number of REST calls in a second above which they are
	// answered by 429. Default 50.
	RESTLimit int

	// HeartbeatInterval is announced by HELLO. Default 41250 ms.
	HeartbeatInterval time.Duration
	// HeartbeatGrace after a missed heartbeat the connection is closed with
	// 1000 and no reason. Default 9 s.
	HeartbeatGrace time.Duration
	// AskHeartbeatEvery makes the server send op 1 that often. Default never.
	AskHeartbeatEvery time.Duration

	// SessionTTL is how long a session without a connection lives. Default 120 s.
	SessionTTL time.Duration
	// ReplayLimit bounds the events kept for a Resume. Default
	// max(100, min(3500, 75 × guilds of the session)).
	ReplayLimit int
	// ReplayAge bounds the age of the events kept for a Resume. Default 5 min.
	ReplayAge time.Duration

	// SendLimit is the number of messages that a connection may send in
	// SendWindow, which slides; one more closes it with 4008. Default 120 in 60 s.
	SendLimit  int
	SendWindow time.Duration
	// MaxPayload is the size of a client's message in bytes above which the
	// connection is closed with 4002. Default 4096.
	MaxPayload int

	// ReconnectEvery is the age at which a connection gets op 7. Default never.
	ReconnectEvery time.Duration
	// ReconnectGrace after op 7 the server closes with 1001. Default 5 s.
	ReconnectGrace time.Duration
	// ReadyDelay lies between Identify and READY. Default random, 100 to 500 ms.
	ReadyDelay time.Duration
	// InvalidSessionDelay lies between a refused Identify and op 9. Default
	// random, 0 to 3 s.
	InvalidSessionDelay time.Duration

	// Guilds is the number of guilds per recommended shard. Default 3; negative
	// for none. A session has those with (id >> 22) % count equal to its shard,
	// whatever count it identified with.
	Guilds int
	// GuildMembers is the size of an ordinary guild. Default 8. With
	// GUILD_PRESENCES all are in its GUILD_CREATE, otherwise one.
	GuildMembers int
	// LargeEvery makes every so manieth guild LargeBytes long, the first
	// included, and every live event of so many LargeEvents. Default 16, 384
	// KiB and 2000; negative for none.
	LargeEvery  int
	LargeEvents int
	LargeBytes  int
	// GuildInterval lies between two guilds of the stream after READY. Default 20 ms.
	GuildInterval time.Duration
	// LoneSurrogates puts halves of surrogate pairs, as escapes, into the
	// description of every guild and into a part of the messages. Nothing says
	// that Discord sends them, and parsers such as serde_json and orjson take no
	// payload with one.
	LoneSurrogates bool
	// Undocumented adds events that no documentation has to the live ones: one
	// with numbers beyond what a double holds, one whose d is an array.
	Undocumented bool
	// UnavailableEvery makes every so manieth guild of the stream unavailable
	// (GUILD_DELETE first, GUILD_CREATE some seconds later). Default 20.
	UnavailableEvery int

	// Rate is the number of live events per second and session, before the
	// session's intents filter them. Default 0, none. Negative: as many as the
	// client reads. Events wait for a client that does not read.
	Rate float64
	// Poisson has live events come as they come from many people: at random moments that know nothing of each other nor of
	// other sessions, the gaps between them with an exponential distribution of mean 1/Rate. Each of a recording is then
	// written by itself. Otherwise they come as evenly as timers can, to all sessions of a start at about the same moments.
	Poisson bool
	// Common makes the live events once for all sessions, at Rate for each of Shards together: each session that serves a guild gets
	// those of the guild, the same in the same order, whatever its shard count, up to CommonSkew later. Ledger.Common
	// has them. There are no direct messages, nor large events.
	Common     bool
	CommonSkew time.Duration
	// Hold keeps live traffic back until Server.Play.
	Hold bool
	// QueueBytes is how much may wait for a connection's writer before live
	// traffic waits for it. Default 4 MiB.
	QueueBytes int
	// Recording, when set, is what every session gets instead of the guild
	// stream and generated traffic, at Rate, as it was compressed beforehand.
	// Connections that ask for another compression get it live.
	Recording *Recording
	// Stored sends transport compression as stored blocks: bigger on the wire,
	// but without the megabytes and the time that a compressor takes.
	Stored bool
	// PayloadThreshold is the size from which messages are compressed one by
	// one for a client that asked for it in Identify. Default 1024.
	PayloadThreshold int

	// Seed decides everything that is random. The same seed gives the same
	// traffic for a session of the same shard and number.
	Seed uint64

	// DeniedIntents are answered by 4014.
	DeniedIntents wire.Intents
	// ShardMultiple is what a shard count must be a multiple of (4010). Default 1.
	ShardMultiple int
	// MaxGuildsPerShard is the number of guilds above which a session is
	// refused with 4011. Default 2500.
	MaxGuildsPerShard int

	// TLS serves https and wss with a certificate made at start, signed by an
	// authority made at start.
	TLS bool
	// Listen gives the listener of a role: "api", "gateway" and "resume", the
	// host of resume_gateway_url. The listener's address is the one in the URLs.
	// Default: any free port of 127.0.0.1.
	Listen func(role string) (net.Listener, error)

	// OnWrite, if set, is called before events are written to a connection, with
	// their seqs, which are borrowed for the call. It is called from many goroutines.
	OnWrite func(shard int, seqs []int64)

	// Faults is what goes wrong by itself.
	Faults Faults

	// LogLimit bounds each of the ledger's lists of identifies, commands,
	// heartbeats and so on; older entries go first. Default 100,000.
	LogLimit int
	// EventLimit bounds the events that the ledger keeps per session, 16 bytes
	// each; older ones go first and are no longer checked. Default 4,000,000.
	EventLimit int

	// Log gets connections, sessions, faults and REST calls at info, and commands
	// and heartbeats at debug. Default: nothing is logged.
	Log *slog.Logger
}

func (o Options) withDefaults() Options {
	str := func(p *string, v string) {
		if *p == "" {
			*p = v
		}
	}
	num := func(p *int, v int) {
		if *p == 0 {
			*p = v
		} else if *p < 0 {
			*p = 0
		}
	}
	dur := func(p *time.Duration, v time.Duration) {
		if *p == 0 {
			*p = v
		} else if *p < 0 {
			*p = 0
		}
	}
	str(&o.Token, "sim-token")
	num(&o.Shards, 1)
	num(&o.MaxConcurrency, 1)
	dur(&o.IdentifyWindow, 5*time.Second)
	num(&o.IdentifyTotal, 1000)
	dur(&o.IdentifyReset, 24*time.Hour)
	num(&o.RESTLimit, 50)
	dur(&o.HeartbeatInterval, 41250*time.Millisecond)
	dur(&o.HeartbeatGrace, 9*time.Second)
	dur(&o.AskHeartbeatEvery, 0)
	dur(&o.SessionTTL, 120*time.Second)
	num(&o.ReplayLimit, 0)
	dur(&o.ReplayAge, 5*time.Minute)
	num(&o.SendLimit, 120)
	dur(&o.SendWindow, 60*time.Second)
	num(&o.MaxPayload, 4096)
	dur(&o.ReconnectEvery, 0)
	dur(&o.ReconnectGrace, 5*time.Second)
	num(&o.Guilds, 3)
	num(&o.GuildMembers, 8)
	num(&o.LargeEvery, 16)
	num(&o.LargeEvents, 2000)
	num(&o.LargeBytes, 384<<10)
	dur(&o.GuildInterval, 20*time.Millisecond)
	num(&o.UnavailableEvery, 20)
	num(&o.QueueBytes, 4<<20)
	num(&o.PayloadThreshold, 1024)
	num(&o.ShardMultiple, 1)
	num(&o.MaxGuildsPerShard, 2500)
	num(&o.LogLimit, 100_000)
	num(&o.EventLimit, 4_000_000)
	if o.Listen == nil {
		o.Listen = func(string) (net.Listener, error) { return net.Listen("tcp", "127.0.0.1:0") }
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	return o
}
