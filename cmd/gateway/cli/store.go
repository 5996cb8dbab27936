// This file makes the store of sessions that the settings ask for.

package cli

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/redis/rueidis"

	"sluice/cmd/gateway/config"
	"sluice/engine"
	"sluice/resume"
	"sluice/sinks/redis"
)

// keeper writes the sessions of an engine to the store.
type keeper struct {
	resume.Keeper
	stop    context.CancelFunc
	running sync.WaitGroup

	// as they were in the store
	sessions map[int]engine.Session
	starts   engine.Starts
}

// newKeeper opens the store and loads what is in it.
func newKeeper(ctx context.Context, cfg *config.Config, log *slog.Logger) (*keeper, error) {
	store, err := openStore(cfg, log)
	if err != nil {
		return nil, err
	}
	k := &keeper{Keeper: resume.Keeper{
		Store: store, Bot: sessionsOf(cfg), OldBot: oldSessionsOf(cfg), Intents: cfg.Intents, Every: cfg.ShardStore.Interval, Log: log,
	}}
	if err := k.load(ctx, cfg, log); err != nil {
		store.Close()
		return nil, err
	}
	return k, nil
}

// sessionsOf returns what tells the sessions of the settings' bot and server from others.
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

// openStore opens the store of the settings.
func openStore(cfg *config.Config, log *slog.Logger) (resume.Store, error) {
	switch cfg.ShardStore.Type {
	case config.StoreRedis:
		client, err := redisClient(cfg)
		if err != nil {
			return nil, err
		}
		return &resume.Redis{
			Connect: func(ctx context.Context) (rueidis.Client, error) { return redis.Connect(ctx, client) },
			Prefix:  cfg.ShardStore.Prefix,
			Compat:  cfg.ShardStore.Compat,
		}, nil
	case config.StoreFile:
		file, err := resume.OpenFile(cfg.ShardStore.Directory, log)
		switch {
		case err == nil:
			return file, nil
		case memoryInstead(cfg, err):
			log.Warn("no file can be written here: the next process can't resume the sessions of this one",
				"error", err, "remedy", "set shard_store.directory, or shard_store.type")
			return new(resume.Memory), nil
		}
		return nil, settingError{fmt.Errorf("shard_store.directory: %w", asPlain(err))}
	}
	return new(resume.Memory), nil
}

// loadWait is how long a store that is away is waited for before the shards identify: Discord
// keeps sessions hardly longer.
const loadWait = time.Minute

// load loads what is stored. A store that is away is waited for, but not for ever: it must not
// keep events back.
func (k *keeper) load(ctx context.Context, cfg *config.Config, log *slog.Logger) error {
	for began, told := time.Now(), false; ; {
		var err error
		if k.sessions, k.starts, err = k.Load(ctx); err == nil {
			return nil
		}
		if cfg.ShardStore.Type == config.StoreRedis && !told && !neverConnected(err) && !isMistake(err) {
			err = cmp.Or(notRedis(ctx, cfg), err)
		}
		switch {
		case cfg.ShardStore.Type != config.StoreRedis:
			return settingError{fmt.Errorf("shard_store.directory: %w", asPlain(err))}
		case errors.As(err, new(settingError)):
			return err
		case errors.As(err, new(*redis.ConfigError)):
			return settingError{err}
		case cfg.Broker.Required && cfg.Broker.Type == config.BrokerRedis:
			return errRequired(err)
		case ctx.Err() != nil:
			return nil // nothing will be started
		case time.Since(began) > loadWait:
			log.Error("the stored sessions cannot be loaded: all shards identify", "error", err)
			return nil
		case !told:
			told = true
			log.Warn("the stored sessions cannot be loaded; they are waited for", "error", err, "at_most", loadWait)
		}
		select {
		case <-time.After(time.Second / 2):
		case <-ctx.Done():
		}
	}
}

// hold returns what an engine calls when a session has begun; nil: nothing outlives the process.
func (k *keeper) hold() func() {
	if _, ok := k.Store.(*resume.Memory); ok {
		return nil
	}
	return k.Wake
}

// start writes checkpoints until end.
func (k *keeper) start(e resume.Engine) {
	ctx, stop := context.WithCancel(context.Background())
	k.stop = stop
	k.running.Go(func() { k.Run(ctx, e) })
}

// endTimeout bounds how long the last checkpoints may take: a disk, too, may never answer.
const endTimeout = 4 * time.Second

// end writes the last checkpoints of an engine that has ended, and closes the store.
func (k *keeper) end(e resume.Engine) error {
	k.stop()
	ended := make(chan error, 1)
	go func() {
		k.running.Wait()
		ended <- errors.Join(k.Save(context.Background(), e), k.Store.Close())
	}()
	select {
	case err := <-ended:
		return err
	case <-time.After(endTimeout):
		return fmt.Errorf("shard_store: no answer within %v", endTimeout)
	}
}
