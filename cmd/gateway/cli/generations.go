// This file reads commands for the shards in force: of another shard count they are others.

package cli

import (
	"context"

	"sluice/engine"
)

// eachGeneration calls read with the shards of the engine, and again when others are in force and every command that was
// given to the last ones is sent, until ctx is done. read returns some time after the context that it is given is done.
func eachGeneration(ctx context.Context, e *engine.Engine, read func(ctx context.Context, g engine.Generation)) {
	for {
		g, err := e.Generation(ctx)
		if err != nil {
			return // the gateway stops
		}
		reading, stop := context.WithCancel(ctx)
		go func() {
			select {
			case <-g.Over:
				stop()
			case <-reading.Done():
			}
		}()
		read(reading, g)
		stop()
		select {
		case <-g.Over:
		default:
			return
		}
		if ctx.Err() != nil {
			return
		}
	}
}
