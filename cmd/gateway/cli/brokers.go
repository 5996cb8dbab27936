// This file is the registry of brokers: what one is, and the list of them.

package cli

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"

	"sluice/cmd/gateway/config"
	"sluice/engine"
	"sluice/sinks"
	"sluice/sinks/broker"
	"sluice/sinks/commands"
	"sluice/sinks/spool"
)

// Broker is a place that events go to, and that commands may come from.
type Broker struct {
	Name  string // the value of broker.type
	Title string // in a sentence: as its makers write it
	// Deduplicates says that an event which Discord sends again, after a crash too, is not
	// written twice.
	Deduplicates bool
	// Stores says that sessions can be kept there: Name is a value of shard_store.type, too.
	Stores bool

	// sink returns its sink by the settings, of a member of a fleet unless it is nil. It does not connect: an
	// error is a mistake in them.
	sink func(cfg *config.Config, member *membership, log *slog.Logger) (sinks.Opener, error)
	// commands gives what bots send to the engine until ctx is done, and counts it.
	commands func(ctx context.Context, cfg *config.Config, member *membership, sink sinks.Opener, e *engine.Engine, counts *commands.Counts, log *slog.Logger)
	// format names what an event is there.
	format func(cfg *config.Config) string
	// server is how it is reached. One without is never unavailable, so that there is neither a
	// spool before it nor a dead letter.
	server *server
}

// server is a broker that is another process.
type server struct {
	setting    string // of its addresses
	urls       func(cfg *config.Config) []config.SecretURL
	scheme     string // of an address; with an s it is that for TLS
	port       string // by default
	securePort string
	// login logs in and changes nothing. note is what else there is to say.
	login func(ctx context.Context, cfg *config.Config) (note string, err error)
}

// registry is a list of brokers.
type registry []Broker

// Brokers returns all that there are. A new one is a package below sinks, a file here that makes
// its sink of the settings, and a line in this list.
func Brokers() []Broker {
	return []Broker{
		stdioBroker(),
		redisBroker(),
		amqpBroker(),
	}
}

// of returns the broker of the settings.
func (r registry) of(cfg *config.Config) Broker {
	for _, b := range r {
		if b.Name == cfg.Broker.Type {
			return b
		}
	}
	panic("config: the broker " + cfg.Broker.Type + " is not registered") // it is checked when it is read
}

// servers returns the brokers that the settings use and that are servers, with what for.
func (r registry) servers(cfg *config.Config) iter.Seq2[Broker, string] {
	return func(yield func(Broker, string) bool) {
		for _, b := range r {
			var uses []string
			if b.Name == cfg.Broker.Type {
				uses = append(uses, "broker")
			}
			switch {
			case b.Stores && cfg.Shards.Auto:
				uses = append(uses, "fleet")
			case b.Stores && b.Name == cfg.ShardStore.Type:
				uses = append(uses, "store")
			}
			if b.server != nil && len(uses) > 0 && !yield(b, strings.Join(uses, " and ")) {
				return
			}
		}
	}
}

// open returns the broker's sink. A server that is unavailable is waited for, unless
// broker.required is set; a mistake that no waiting mends is an error at once.
func (b Broker) open(ctx context.Context, cfg *config.Config, member *membership, log *slog.Logger) (sinks.Opener, error) {
	sink, err := b.sink(cfg, member, log)
	if err != nil {
		return nil, err
	}
	err = b.reach(ctx, cfg, sink.Open)
	switch {
	case err == nil:
		return sink, nil
	case isMistake(err):
		err = settingError{err}
	case b.server == nil:
		err = fmt.Errorf("%s: %w", b.Title, err)
	case cfg.Broker.Required:
		err = errRequired(err)
	default:
		if ctx.Err() == nil { // its sink logs so only once there are events
			log.Warn(b.Title+" unavailable at the start; buffering events", "error", err)
		}
		return sink, nil
	}
	sink.Close()
	return nil, err
}

// check asks the broker whether it would let the gateway in.
func (b Broker) check(ctx context.Context, cfg *config.Config) (note string, err error) {
	ctx, cancel := context.WithTimeoutCause(ctx, brokerTimeout, fmt.Errorf("no answer within %v", brokerTimeout))
	defer cancel()
	err = b.reach(ctx, cfg, func(ctx context.Context) (err error) {
		note, err = b.server.login(ctx, cfg)
		return err
	})
	return note, err
}

// addresses returns the broker's addresses without their passwords.
func (b Broker) addresses(cfg *config.Config) string {
	var list []string
	for _, u := range b.server.urls(cfg) {
		list = append(list, u.String())
	}
	return strings.Join(list, " ")
}

// errRequired is for a broker that is unavailable and is not to be waited for.
func errRequired(err error) error {
	return fmt.Errorf("broker.required is set, and the broker cannot be reached: %w", err)
}

// withSpool puts the spool before a broker's sink, if there is one. The engine e, which
// is set once it is made, runs until ctx is done.
func withSpool(ctx context.Context, cfg *config.Config, sink sinks.Sink, e *atomic.Pointer[engine.Engine], log *slog.Logger) (sinks.Sink, error) {
	if cfg.Spool.Directory == "" {
		return sink, nil
	}
	s, err := spool.Open(spool.Options{
		Directory: cfg.Spool.Directory,
		MaxBytes:  int64(cfg.Spool.Size),
		Full:      func() bool { e := e.Load(); return e != nil && e.Full() },
		Ending:    func() bool { return ctx.Err() != nil },
		Log:       log,
	}, sink)
	if err != nil {
		sink.Close()
		return nil, settingError{fmt.Errorf("spool.directory: %w", asPlain(err))}
	}
	return s, nil
}

// errNoDeadLetters is of an event that is dropped because the settings name no file for it.
var errNoDeadLetters = errors.New("broker.dead_letters is none")

// deadLetters returns what keeps the events that a broker will never take, by the settings in force.
// Its errors are logged, and tell the sink that the event is lost.
func deadLetters(cfg *config.Config, log *slog.Logger) func(ev *sinks.Event, reason error) error {
	var mu sync.Mutex
	letters := new(broker.DeadLetters)
	return func(ev *sinks.Event, reason error) error {
		now := cfg.Current()
		reason = cfg.KnownSecrets().Error(reason) // a broker's text
		mu.Lock()
		defer mu.Unlock()
		if letters.Path, letters.Max = now.Broker.DeadLetters, int64(now.Broker.DeadLettersSize); letters.Path == "" {
			return errNoDeadLetters
		}
		err := letters.Put(ev, reason)
		if err != nil {
			log.Error("event lost: broker.dead_letters cannot be written", "event", string(ev.Type),
				"shard", ev.Shard, "session", ev.Session, "seq", ev.Seq, "reason", reason, "error", err)
		}
		return err
	}
}

// isMistake reports whether waiting does not mend an error.
func isMistake(err error) bool {
	return errors.As(err, new(settingError)) || errors.Is(err, sinks.ErrConfig)
}
