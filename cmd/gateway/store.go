// This file makes the store of sessions that the settings ask for.

package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"

	"sluice/cmd/gateway/config"
	"sluice/engine"
	"sluice/resume"
)

// keeper writes the sessions of an engine to the store, if there is one.
type keeper struct {
	resume.Keeper
	stop    context.CancelFunc
	running sync.WaitGroup
}

// newKeeper opens the store and returns the sessions that are in it.
func newKeeper(ctx context.Context, cfg *config.Config, log *slog.Logger) (*keeper, map[int]engine.Session, error) {
	k := &keeper{Keeper: resume.Keeper{
		Store: new(resume.Memory), Bot: resume.Fingerprint(cfg.Token.Reveal()), Intents: cfg.Intents, Log: log,
	}}
	if cfg.ShardStore.Type == config.StoreFile {
		file, err := resume.OpenFile(cfg.ShardStore.Directory, log)
		if err != nil {
			err = fmt.Errorf("shard_store.directory: %w", err)
			if errors.As(err, new(*resume.InUseError)) {
				err = settingError{err}
			}
			return nil, nil, err
		}
		k.Store = file
	}
	sessions, err := k.Load(ctx)
	if err != nil {
		k.Store.Close()
		return nil, nil, err
	}
	return k, sessions, nil
}

// start writes checkpoints until end.
func (k *keeper) start(e *engine.Engine) {
	ctx, stop := context.WithCancel(context.Background())
	k.stop = stop
	k.running.Go(func() { k.Run(ctx, e.Sessions) })
}

// end writes the last checkpoints of an engine that has ended, and closes the store.
func (k *keeper) end(e *engine.Engine) error {
	k.stop()
	k.running.Wait()
	return errors.Join(k.Save(context.Background(), e.Sessions()), k.Store.Close())
}
