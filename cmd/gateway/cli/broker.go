// This file makes the sink that the settings ask for.

package cli

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strconv"
	"strings"
	"sync/atomic"

	"github.com/redis/rueidis"

	"sluice/cmd/gateway/config"
	"sluice/engine"
	"sluice/resume"
	"sluice/sinks"
	"sluice/sinks/amqp"
	"sluice/sinks/broker"
	"sluice/sinks/redis"
	"sluice/sinks/spool"
	"sluice/sinks/stdio"
)

// newSink returns the sink of the settings. A broker that is away is waited for,
// unless broker.required is set; a mistake that no waiting mends is an error at once.
func newSink(ctx context.Context, cfg *config.Config, log *slog.Logger) (sinks.Sink, error) {
	switch cfg.Broker.Type {
	case config.BrokerRedis:
		return newRedis(ctx, cfg, log)
	case config.BrokerAMQP:
		return newAMQP(ctx, cfg, log)
	}
	format := stdio.JSON
	if cfg.Stdio.Format == config.FormatMsgpack {
		format = stdio.MsgPack
	}
	if format == stdio.JSON {
		if err := endLine(os.Stdout); err != nil {
			return nil, fmt.Errorf("standard output: %w", err)
		}
	}
	return eventOutput(os.Stdout, format), nil
}

// withSpool puts the spool before the broker's sink, if there is one. The engine e, which
// is set once it is made, runs until ctx is done.
func withSpool(ctx context.Context, cfg *config.Config, sink sinks.Sink, e *atomic.Pointer[engine.Engine], log *slog.Logger) (sinks.Sink, error) {
	if cfg.Spool.Directory == "" || cfg.Broker.Type == config.BrokerStdio {
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

// endLine ends the line that a process before this one may have left unfinished in a file,
// when it was killed: the first event would be lost in it.
func endLine(f *os.File) error {
	info, err := f.Stat()
	if err != nil || !info.Mode().IsRegular() || info.Size() == 0 {
		return nil // a pipe or the like, or nothing is there
	}
	last := make([]byte, 1)
	if r, err := os.Open(f.Name()); err == nil { // which is write-only
		r.ReadAt(last, info.Size()-1)
		r.Close()
	}
	if last[0] != '\n' {
		_, err = f.Write([]byte("\n"))
	}
	return err
}

// redisClient returns how Redis is reached by the settings.
func redisClient(cfg *config.Config) (rueidis.ClientOption, error) {
	secure, err := cfg.Redis.TLS.Load("redis")
	if err != nil {
		return rueidis.ClientOption{}, err
	}
	addresses := make([]string, len(cfg.Redis.URLs))
	for i, u := range cfg.Redis.URLs {
		addresses[i] = u.Reveal()
	}
	client, err := redis.NewClientOption(addresses, secure)
	if err != nil {
		return client, settingError{fmt.Errorf("redis.urls: %w", err)}
	}
	return client, nil
}

// connectRedis is redis.Connect, but ends with ctx: a server may take a connection and never
// answer.
func connectRedis(ctx context.Context, o rueidis.ClientOption) (rueidis.Client, error) {
	type result struct {
		client rueidis.Client
		err    error
	}
	connected := make(chan result, 1)
	go func() {
		client, err := redis.Connect(ctx, o)
		if err != nil && !errors.As(err, new(*redis.ConfigError)) {
			err = fmt.Errorf("redis: %s: %w", strings.Join(o.InitAddress, ", "), err)
		}
		connected <- result{client, err}
	}()
	select {
	case r := <-connected:
		return r.client, r.err
	case <-ctx.Done():
		go func() { // which has bounds of its own
			if r := <-connected; r.err == nil {
				r.client.Close()
			}
		}()
		return nil, fmt.Errorf("redis: %s: no answer: %w", strings.Join(o.InitAddress, ", "), context.Cause(ctx))
	}
}

// reachRedis is connectRedis for the settings. A server that is not what they say is a settingError.
func reachRedis(ctx context.Context, cfg *config.Config, o rueidis.ClientOption) (rueidis.Client, error) {
	var client rueidis.Client
	err := reach(ctx, func(ctx context.Context) (err error) {
		client, err = connectRedis(ctx, o)
		return err
	}, func(ctx context.Context) error { return notRedis(ctx, cfg) })
	return client, err
}

// logUnavailable logs that a broker is waited for. Its sink does so only once there are events.
func logUnavailable(log *slog.Logger, cfg *config.Config, err error) {
	log.Warn("the broker is unavailable at the start; buffering events", "broker", brokerName(cfg), "error", err)
}

// readRedis gives the commands in Redis to the engine until ctx is done.
func readRedis(ctx context.Context, cfg *config.Config, e *engine.Engine, log *slog.Logger) {
	total, shards, err := e.Shards(ctx)
	if err != nil {
		return // the gateway ends before it has begun
	}
	client, err := redisClient(cfg)
	if err != nil {
		return // newSink has told
	}
	redis.ReadCommands(ctx, redis.CommandOptions{
		Client: client,
		Group:  cfg.Broker.Group,
		// Of the processes of a bot each runs other shards, and the same ones after a
		// restart.
		Consumer:  fmt.Sprintf("sluice-%d", shards[0]),
		Shards:    shards,
		Total:     total,
		Discordjs: cfg.Broker.Encoding == broker.Discordjs,
		Timeout:   cfg.Broker.MessageTimeout,
		Send:      e.Send,
		Log:       log,
	})
}

func newRedis(ctx context.Context, cfg *config.Config, log *slog.Logger) (sinks.Sink, error) {
	client, err := redisClient(cfg)
	if err != nil {
		return nil, err
	}
	switch c, err := reachRedis(ctx, cfg, client); {
	case err == nil:
		c.Close()
	case errors.As(err, new(settingError)):
		return nil, err
	case errors.As(err, new(*redis.ConfigError)):
		return nil, settingError{err}
	case cfg.Broker.Required:
		return nil, errRequired(err)
	case ctx.Err() == nil:
		logUnavailable(log, cfg, err)
	}
	stream := cfg.Redis.Stream.Append
	if cfg.Redis.Stream.String() == "{event}" {
		stream = nil
	}
	return redis.New(redis.Options{
		Client:     client,
		Bot:        strconv.FormatUint(resume.Fingerprint(cfg.Token.Reveal()), 16),
		Stream:     stream,
		Body:       broker.Format{Encoding: cfg.Broker.Encoding, Envelope: cfg.Broker.Envelope}.Append,
		Fields:     cfg.Redis.Fields,
		Retention:  cfg.Redis.Retention,
		MaxLen:     int64(cfg.Redis.MaxLength),
		Replicas:   cfg.Redis.Replicas,
		DeadLetter: deadLetters(cfg, log),
		Log:        log,
	}), nil
}

// amqpOptions returns how RabbitMQ is reached and used by the settings.
func amqpOptions(cfg *config.Config, log *slog.Logger) (amqp.Options, error) {
	o := amqp.Options{
		External:   cfg.AMQP.External,
		Heartbeat:  cfg.AMQP.Heartbeat,
		Exchange:   cfg.Broker.Group,
		Kind:       cfg.AMQP.ExchangeType,
		RoutingKey: cfg.AMQP.RoutingKey.Append,
		Body:       broker.Format{Encoding: cfg.Broker.Encoding, Envelope: cfg.Broker.Envelope}.Append,
		Expiration: cfg.Broker.MessageTimeout,
		Persistent: cfg.AMQP.Persistent,
		Mandatory:  cfg.AMQP.Mandatory,
		Headers:    cfg.AMQP.Headers,
		DeadLetter: deadLetters(cfg, log),
		Prefetch:   cfg.AMQP.Prefetch,
		Log:        log,
	}
	for _, u := range cfg.AMQP.URLs {
		o.URLs = append(o.URLs, u.Reveal())
	}
	var err error
	if o.TLS, err = cfg.AMQP.TLS.Load("amqp"); err != nil {
		return o, err
	}
	return o, nil
}

func newAMQP(ctx context.Context, cfg *config.Config, log *slog.Logger) (sinks.Sink, error) {
	o, err := amqpOptions(cfg, log)
	if err != nil {
		return nil, err
	}
	sink, err := amqp.New(o)
	if err != nil {
		return nil, settingError{err}
	}
	switch err := reach(ctx, sink.Connect, func(ctx context.Context) error { return notRabbitMQ(ctx, cfg) }); {
	case err == nil:
	case errors.As(err, new(settingError)):
		sink.Close()
		return nil, err
	case errors.As(err, new(*amqp.ConfigError)):
		sink.Close()
		return nil, settingError{err}
	case cfg.Broker.Required:
		sink.Close()
		return nil, errRequired(err)
	case ctx.Err() == nil:
		logUnavailable(log, cfg, err)
	}
	return sink, nil
}

// errRequired is for a broker that is away and is not to be waited for.
func errRequired(err error) error {
	return fmt.Errorf("broker.required is set, and the broker cannot be reached: %w", err)
}

// readAMQP gives the commands in RabbitMQ to the engine until ctx is done.
func readAMQP(ctx context.Context, sink *amqp.Sink, e *engine.Engine) {
	total, shards, err := e.Shards(ctx)
	if err != nil {
		return // the gateway ends before it has begun
	}
	sink.Relay(ctx, shards, total, e.Send)
}

// deadLetters returns what keeps the events that a broker will never take.
func deadLetters(cfg *config.Config, log *slog.Logger) func(ev *sinks.Event, reason error) {
	if cfg.Broker.DeadLetters == "" {
		return nil
	}
	letters := &broker.DeadLetters{Path: cfg.Broker.DeadLetters, Max: int64(cfg.Broker.DeadLettersSize)}
	secrets := cfg.Secrets()
	return func(ev *sinks.Event, reason error) {
		reason = secrets.Error(reason) // a broker's text
		if err := letters.Put(ev, reason); err != nil {
			log.Error("event lost: broker.dead_letters cannot be written", "event", string(ev.Type),
				"shard", ev.Shard, "session", ev.Session, "seq", ev.Seq, "reason", reason, "error", err)
		}
	}
}
