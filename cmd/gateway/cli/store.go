// This file makes the store of sessions that the settings ask for.

package cli

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/redis/rueidis"

	"sluice/cmd/gateway/config"
	"sluice/resume"
	"sluice/resume/file"
	redisstore "sluice/resume/redis"
	"sluice/sinks/redis"
)

// newKeeper opens the store of the settings and loads what is in it; nil: nothing is stored.
func newKeeper(ctx context.Context, cfg *config.Config, log *slog.Logger) (*resume.Keeper, error) {
	if cfg.Shards.Auto {
		return nil, nil // a fleet has its own
	}
	store, err := openStore(cfg, log)
	if err != nil || store == nil {
		return nil, err
	}
	k := &resume.Keeper{
		Store: store, Bot: sessionsOf(cfg), OldBot: oldSessionsOf(cfg), Intents: cfg.Intents, Setting: cfg.Shards.Count,
		Final: finalLoad(cfg), Log: log,
	}
	if err := k.Load(ctx); err != nil {
		store.Close()
		return nil, err
	}
	return k, nil
}

// sessionsOf returns what distinguishes the sessions of the settings' bot and server from others.
func sessionsOf(cfg *config.Config) uint64 {
	return resume.FingerprintAt(cfg.Token.Reveal(), cfg.ServerHost())
}

// oldSessionsOf returns what earlier versions stored in place of sessionsOf: it does not say which
// server has the sessions. 0: the server is not Discord, so they are discarded.
func oldSessionsOf(cfg *config.Config) uint64 {
	if cfg.Gateway.URL != "" || cfg.ServerHost() != "discord.com" {
		return 0
	}
	return resume.Fingerprint(cfg.Token.Reveal())
}

// openStore opens the store of the settings; nil: there is none.
func openStore(cfg *config.Config, log *slog.Logger) (resume.Store, error) {
	switch cfg.ShardStore.Type {
	case config.StoreRedis:
		client, err := redisClient(cfg)
		if err != nil {
			return nil, err
		}
		return &redisstore.Store{
			Connect: func(ctx context.Context) (rueidis.Client, error) { return redis.Connect(ctx, client) },
			Prefix:  cfg.ShardStore.Prefix,
			Compat:  cfg.ShardStore.Compat,
			Shared:  shared(log),
		}, nil
	case config.StoreFile:
		store, err := file.Open(cfg.ShardStore.Directory, log)
		switch {
		case err == nil:
			return store, nil
		case memoryInstead(cfg, err):
			log.Warn("no file can be written here: the next process can't resume the sessions of this one",
				"error", err, "remedy", "set shard_store.directory, or shard_store.type")
			return nil, nil
		}
		return nil, settingError{fmt.Errorf("shard_store.directory: %w", asPlain(err))}
	}
	return nil, nil
}

// shared returns what logs, once a minute, that another process runs shards of this one.
func shared(log *slog.Logger) func(shards []int) {
	var last time.Time
	return func(shards []int) {
		if time.Since(last) < time.Minute {
			return
		}
		last = time.Now()
		log.Error("another process runs shards of this one, with the same store: they resume each other's sessions in turns",
			"shards", len(shards), "first", shards[0], "remedy", `stop one of them, give each its own shards (shards.ids), or set shards.ids = "auto" for both`)
	}
}

// finalLoad returns a resume.Keeper's Final: a store that is unavailable is waited for, but for a
// mistake in the settings, or with broker.required.
func finalLoad(cfg *config.Config) func(ctx context.Context, err error) error {
	asked := false
	return func(ctx context.Context, err error) error {
		if cfg.ShardStore.Type != config.StoreRedis {
			return settingError{fmt.Errorf("shard_store.directory: %w", asPlain(err))}
		}
		if !asked && !neverConnected(err) && !isMistake(err) {
			err = cmp.Or(notRedis(ctx, cfg), err)
		}
		asked = true
		switch {
		case errors.As(err, new(settingError)):
			return err
		case errors.As(err, new(*redis.ConfigError)):
			return settingError{err}
		case cfg.Broker.Required && cfg.Broker.Type == config.BrokerRedis:
			return errRequired(err)
		}
		return nil
	}
}
