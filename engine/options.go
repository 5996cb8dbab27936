// This file holds the settings of an Engine.

package engine

import (
	"context"
	"crypto/tls"
	"log/slog"
	"net"
	"net/url"
	"time"

	"sluice/sinks"
	"sluice/wire"
)

// Options are the settings of an Engine. Token, API or both GatewayURL and
// Shards and Sink are required.
type Options struct {
	// Token is the bot's token, without "Bot ".
	Token string
	// API answers where the gateway is, how many shards it recommends and how
	// many sessions may be started. When both GatewayURL and Shards are set it is not
	// asked at the start, and may be nil: then it is never asked.
	API *wire.API
	// GatewayURL replaces the URL that the API names; wss:// or ws://.
	GatewayURL string
	// GatewayHosts may get the token beside the hosts of the main gateway's registrable
	// domain (for what the API names: of the API's or Discord's), each with the names below
	// it. They matter for resume_gateway_url and for the URL that the API names.
	GatewayHosts []string
	// UserAgent is sent in the WebSocket handshake, as API.UserAgent is over REST; empty: none.
	UserAgent string
	// Version of the gateway's protocol; 10 by default.
	Version int
	// Compression of what Discord sends; none by default.
	Compression wire.Compression
	// MaxMessage bounds the inflated size of a message in bytes; a larger one
	// closes the connection. wire.DefaultMaxMessage by default.
	MaxMessage int

	// Intents of every shard.
	Intents wire.Intents
	// LargeThreshold is the member count above which Discord leaves offline
	// members out of GUILD_CREATE, 50 to 250; not sent by default.
	LargeThreshold int
	// Presence is the presence object of the Identify as JSON; nil: none. Engine.SetPresence changes it.
	Presence []byte
	// FollowPresence has the presence that a shard has sent last, for a bot or SetPresence, take the
	// place of that in its Identifies: it survives the session. A new Engine begins with Presence.
	FollowPresence bool

	// Shards is the shard count; 0: what the API recommends.
	Shards int
	// Generation counts the shard counts that the bot has had, where others share Identify: who runs the same count has the
	// same number, from 1 on. Reshard goes on from it. 0, the default: in no fleet.
	Generation int
	// IDs are the shards that this engine runs from the start; nil: all; empty, but not nil: none.
	// Engine.Add adds others.
	IDs []int
	// Events are the names of the events to publish; nil: all. Engine.SetEvents changes them.
	Events map[string]struct{}

	// Sink takes the events. Run closes it.
	Sink sinks.Sink
	// Checkpoints has what resumes the shards, and persists it behind the events; Run closes it.
	// A stored session of another shard count is discarded. The events of a new session are
	// published when it is persisted, after 10 s at the latest, but for those of a shard with an epoch,
	// which wait as long as it takes. nil: nothing is kept.
	Checkpoints Checkpoints
	// CheckpointEvery is how often snapshots are persisted; 100 ms by default.
	CheckpointEvery time.Duration
	// Gaps publishes an event GapEvent when a session has ended that Discord
	// does not continue, whether Events has its name or not.
	Gaps bool
	// StartReserve is how many of the day's Identifies this Engine leaves, a tenth of them
	// at most: with no more than so many, its shards wait for the next day. A process
	// that fails again and again can't use them up then.
	StartReserve int
	// Identify hands out the turns to Identify where several processes share them, by the numbers
	// Generation*resume.MaxShards + the id of the shard; nil: those of
	// this Engine alone, which count on what the API says, Starts and StartReserve. Identifies are
	// counted in the Starts that Checkpoints are given whoever gave the turn.
	Identify IdentifyQueue
	// Permit is asked before each Identify, with the turns of this Engine: when the shard is connected, so that
	// it is sent at once. It returns nil when it may be, as long as that takes, or an error once ctx is done: the shard
	// does not wait any more. It is asked again if half a second has passed since, or the process was stopped for
	// that long at its return. Shards whose ids are equal modulo max_concurrency ask one after the other. nil: no
	// permission is needed.
	Permit func(ctx context.Context, shard int) error
	// Confirm is asked, each time, before a shard that was added with an epoch is connected: whether it is
	// still owned under that epoch. It must not wait, nor call the Engine: done is called once, by any
	// goroutine, perhaps within Confirm. Until then the shard waits; if it is not owned, it is deposed
	// (Engine.Depose). nil: it always is.
	Confirm func(shard int, epoch int64, done func(owned bool))
	// Trusted reports whether this process was known a short time ago, by its own clock, to own its
	// shards. Those with an epoch ask it before they resume or identify, and, before they send or read anything, when
	// this process was stopped for longer than SuspectAfter. If it does not, the connection is closed with its session kept, and
	// the next one is confirmed. It must not wait. nil: it does.
	Trusted func() bool
	// SuspectAfter is 4 s by default.
	SuspectAfter time.Duration
	// QueueBytes bounds the events that wait for the sink; above it no more
	// is read from Discord. 64 MiB by default. A message that is in flight
	// when the bound is reached still adds to it, and each reader may have 64 KiB
	// more at hand, as it was read.
	QueueBytes int
	// Linger is how long a few events wait for more while the sink is busy
	// with others; 1 ms by default, negative: not at all.
	Linger time.Duration
	// CommandQueue bounds the commands that wait for one shard; 1,000 by
	// default.
	CommandQueue int
	// ReadyTimeout is how long a shard waits for READY after its Identify, before it
	// identifies again in its turn; 10 minutes by default. In an outage Discord wants clients
	// to wait.
	ReadyTimeout time.Duration
	// ShutdownTimeout bounds the time that Run takes to end after its context
	// is done, but for the last snapshots, which have 4 s; 10 s by default.
	ShutdownTimeout time.Duration
	// ConnectTimeout bounds dial, TLS and WebSocket handshake together; 10 s by
	// default.
	ConnectTimeout time.Duration

	// Reader reads the sockets; ReaderGoroutine by default.
	Reader ReaderKind
	// Readers is how many goroutines ReaderEpoll uses; GOMAXPROCS by default.
	Readers int
	// PollInterval is the least time between two looks of such a goroutine at its
	// sockets, so that under load one look finds many of them ready, and the
	// sink gets their events together. An event that comes alone is not held
	// up. 4 ms by default, which docs/performance.md compares with others;
	// negative: none.
	PollInterval time.Duration
	// DialContext makes TCP connections; a net.Dialer by default.
	DialContext func(ctx context.Context, network, address string) (net.Conn, error)
	// Proxy returns the proxy for a gateway, whose URL has the scheme https for wss and http
	// for ws, as that of proxy.Dialer; nil: there is none. ReaderEpoll cannot use an https
	// proxy: if it is that of the main gateway, ReaderGoroutine takes its place.
	Proxy func(*url.URL) (*url.URL, error)
	// TLS is the configuration for wss; nil: the system's roots. Engine.SetTLS changes it.
	TLS *tls.Config
	// Seed of the shards' random waits and masking keys, so that a test can
	// have them again; 0: from the system's source of randomness.
	Seed uint64
	// Log gets what happens; nil: nothing is logged.
	Log *slog.Logger
	// OnState, if set, is called at each change of a shard's state, on the
	// goroutine that reads for the shard, or adds it: it must not wait, nor call the Engine.
	OnState func(shard int, from, to State)

	// PacketCounts has Engine.AppendPackets count payloads by shard, opcode and event.
	PacketCounts bool
	// PacketShards is with how many shards at the start they are still counted; 0: with any number. It costs
	// a shard 0.9 KiB, a tenth of what it has.
	PacketShards int

	newPoller func() (poller, error) // of the system by default; a test has its own
	live      *live
}

// withDefaults returns a copy with every default filled in.
func (o Options) withDefaults() Options {
	if o.newPoller == nil {
		o.newPoller = newPoller
	}
	o.live = newLive(o.Events, o.Presence)
	if o.Version == 0 {
		o.Version = 10
	}
	if o.MaxMessage == 0 {
		o.MaxMessage = wire.DefaultMaxMessage
	}
	if o.QueueBytes == 0 {
		o.QueueBytes = 64 << 20
	}
	if o.Linger == 0 {
		o.Linger = time.Millisecond
	}
	if o.CommandQueue == 0 {
		o.CommandQueue = 1000
	}
	if o.ReadyTimeout == 0 {
		o.ReadyTimeout = 10 * time.Minute
	}
	if o.ShutdownTimeout == 0 {
		o.ShutdownTimeout = 10 * time.Second
	}
	if o.CheckpointEvery == 0 {
		o.CheckpointEvery = 100 * time.Millisecond
	}
	if o.SuspectAfter == 0 {
		o.SuspectAfter = 4 * time.Second
	}
	if o.PollInterval == 0 {
		o.PollInterval = 4 * time.Millisecond
	}
	if o.ConnectTimeout == 0 {
		o.ConnectTimeout = 10 * time.Second
	}
	if o.DialContext == nil {
		o.DialContext = new(net.Dialer).DialContext
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	o.TLS = withSessions(o.TLS)
	o.live.tls.Store(o.TLS)
	return o
}
