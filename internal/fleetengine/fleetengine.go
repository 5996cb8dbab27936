// Package fleetengine has a fleet drive an engine: neither knows the other.
package fleetengine

import (
	"context"
	"errors"

	"sluice/engine"
	"sluice/fleet"
)

// Engine is an engine.Engine as a fleet.Resharder.
type Engine struct{ *engine.Engine }

// Reshard implements fleet.Resharder.
func (e Engine) Reshard(ctx context.Context, shards int, p fleet.Part) error {
	return e.Engine.Reshard(ctx, engine.ReshardOptions{Shards: shards, Part: &engine.Part{
		Generation: p.Generation,
		Switch: func(ctx context.Context) error {
			err := p.Switch(ctx)
			if errors.Is(err, fleet.ErrAgain) {
				return engine.ErrAgain
			}
			return err
		},
		Commit: p.Commit, Abort: p.Abort, Open: p.Open,
	}})
}

// Ready implements fleet.Resharder.
func (e Engine) Ready() int { return e.Resharding().Ready }
