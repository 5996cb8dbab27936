// This file is the broker redis.

package cli

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"fmt"
	"log/slog"
	"net"
	"strconv"
	"strings"
	"time"

	"github.com/redis/rueidis"

	"sluice/cmd/gateway/config"
	"sluice/engine"
	"sluice/resume"
	"sluice/sinks"
	"sluice/sinks/broker"
	"sluice/sinks/commands"
	"sluice/sinks/redis"
)

func redisBroker() Broker {
	return Broker{
		Name: config.BrokerRedis, Title: "Redis", Deduplicates: true, Stores: true,
		sink: newRedis, commands: readRedis,
		format: func(cfg *config.Config) string { return cfg.Broker.Encoding.String() },
		server: &server{
			setting: "redis.urls", scheme: "redis", port: "6379", securePort: "6379",
			urls: func(cfg *config.Config) []config.SecretURL { return cfg.Redis.URLs },
			login: func(ctx context.Context, cfg *config.Config) (note string, err error) {
				o, err := redisClient(cfg)
				if err != nil {
					return "", err
				}
				client, err := redis.Connect(ctx, o) // which sends PING
				if err == nil {
					client.Close()
				}
				return "", err
			},
		},
	}
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
	if client.TLSConfig != nil && client.DialCtxFn == nil {
		client.DialCtxFn = func(ctx context.Context, address string, dialer *net.Dialer, secure *tls.Config) (net.Conn, error) {
			d := tls.Dialer{NetDialer: dialer, Config: cfg.Renewed("redis", secure)}
			return d.DialContext(ctx, "tcp", address)
		}
	}
	return client, nil
}

func newRedis(cfg *config.Config, member *membership, log *slog.Logger) (sinks.Opener, error) {
	client, err := redisClient(cfg)
	if err != nil {
		return nil, err
	}
	stream := cfg.Redis.Stream.Append
	if cfg.Redis.Stream.String() == "{event}" {
		stream = nil
	}
	o := redis.Options{
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
	}
	if member != nil {
		o.Owner, o.Deposed = member.owner, func(shard int, epoch int64) { member.fleet.Dropped(shard, epoch) }
	}
	return redis.New(o)
}

func readRedis(ctx context.Context, cfg *config.Config, member *membership, _ sinks.Opener, e *engine.Engine, counts *commands.Counts, log *slog.Logger) {
	eachGeneration(ctx, e, func(ctx context.Context, g engine.Generation) { readRedisFor(ctx, g, cfg, member, e, counts, log) })
}

func readRedisFor(ctx context.Context, g engine.Generation, cfg *config.Config, member *membership, e *engine.Engine, counts *commands.Counts, log *slog.Logger) {
	total, shards := g.Shards, g.IDs
	client, err := redisClient(cfg)
	if err != nil {
		return // newRedis has returned it
	}
	consumer := "sluice"
	if len(shards) > 0 {
		// Of the processes of a bot each runs other shards, and the same ones after a
		// restart.
		consumer += fmt.Sprintf("-%d", shards[0])
	}
	redis.ReadCommands(ctx, redis.CommandOptions{
		Client:     client,
		Group:      cfg.Broker.Group,
		Consumer:   consumer,
		Shards:     shards,
		Total:      total,
		Fleet:      commandFleet(ctx, g, member, e),
		Discordjs:  cfg.Broker.Encoding == broker.Discordjs,
		TimeoutNow: func() time.Duration { return cfg.Current().Broker.MessageTimeout },
		Send:       e.Send,
		Settled:    g.Settled,
		Counts:     counts,
		Log:        log,
	})
}

// fleetConsumer is what the name of a member's consumer begins with. Its incarnation follows.
const fleetConsumer = "sluice-"

// commandFleet returns who reads which commands in a fleet; nil: the process is in none.
func commandFleet(ctx context.Context, g engine.Generation, member *membership, e *engine.Engine) *redis.CommandFleet {
	if member == nil {
		return nil
	}
	return &redis.CommandFleet{
		Consumer: func() string { return fleetConsumer + member.fleet.Incarnation() },
		Shards:   shardsNow(ctx, g, e),
		Gone: func(consumer string) bool {
			incarnation, ok := strings.CutPrefix(consumer, fleetConsumer)
			// Of a process in no fleet it is a shard's number.
			return ok && len(incarnation) == len(rand.Text()) && member.fleet.Gone(incarnation)
		},
	}
}

// shardsNow returns what returns the ids of the shards of a generation that an engine runs: none once another is in force.
func shardsNow(ctx context.Context, g engine.Generation, e *engine.Engine) func() []int {
	return func() []int {
		count, ids, _ := e.Shards(ctx) // none once the engine has stopped
		if count != g.Shards {
			return nil
		}
		return ids
	}
}

// notRedis returns what is wrong with redis.urls if something else answers there.
func notRedis(ctx context.Context, cfg *config.Config) error { return redisBroker().mistaken(ctx, cfg) }
