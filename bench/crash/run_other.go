//go:build !linux

// This file is for the systems on which the servers of a run are not started.

package crash

import (
	"context"
	"errors"
)

// Run is for Linux alone.
func Run(context.Context, Options) (Result, error) {
	return Result{}, errors.New("crash: it runs on Linux alone")
}

// RunFleet is for Linux alone.
func RunFleet(context.Context, FleetOptions) (FleetResult, error) {
	return FleetResult{}, errors.New("fleet: it runs on Linux alone")
}

// RunReshard is for Linux alone.
func RunReshard(context.Context, ReshardOptions) (ReshardResult, error) {
	return ReshardResult{}, errors.New("reshard: it runs on Linux alone")
}
