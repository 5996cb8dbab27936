// This file holds the errors that end the engine, and those that somebody can do something about.

package engine

import (
	"errors"
	"fmt"

	"sluice/wire"
)

// ErrDrain is returned by Run when the sink had not taken every event within
// Options.ShutdownTimeout. The sessions are kept at what it had taken.
var ErrDrain = errors.New("engine: the sink did not take every event in time")

// ErrSecureProxy is of a connection whose proxy is spoken to over TLS, so that there is no
// file descriptor with what the gateway sends. newReader sees to it that it is that of a host
// which has another proxy than the main one.
var ErrSecureProxy = errors.New("the proxy is an https one, which the epoll reader cannot use")

// FatalError is an answer of Discord that trying again cannot mend.
type FatalError struct {
	Shard   int            // the shard it came to; -1 for the REST request
	Code    wire.CloseCode // close code, or 0
	Status  int            // HTTP status of GET /gateway/bot, or 0
	Shards  int            // the shard count, with a close code
	Intents wire.Intents   // that were asked for
}

func (e *FatalError) Error() string {
	if e.Status != 0 {
		return fmt.Sprintf("Discord answered GET /gateway/bot with %d", e.Status)
	}
	return fmt.Sprintf("Discord closed shard %d with %d (%s)", e.Shard, uint16(e.Code), e.Code)
}

// ShardIDError is returned by Run for one of Options.IDs that does not exist.
type ShardIDError struct{ ID, Shards int }

func (e *ShardIDError) Error() string {
	return fmt.Sprintf("shard %d does not exist with a shard count of %d; ids run from 0 to %d", e.ID, e.Shards, e.Shards-1)
}

// HostError is the refusal of an address of the gateway, which must not get the token:
// Options.GatewayHosts would allow it.
type HostError struct{ Err error }

func (e *HostError) Error() string { return e.Err.Error() }
func (e *HostError) Unwrap() error { return e.Err }
