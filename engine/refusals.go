// This file counts the commands that are refused, by reason.

package engine

import (
	"errors"

	"sluice/sinks"
)

// refusal is why a command was refused.
type refusal uint8

const (
	refusedInvalid   refusal = iota // its packet is none
	refusedIntent                   // it asks for what the intents do not give
	refusedGuild                    // its guild is another shard's
	refusedNoShard                  // no shard has the id
	refusedNotLocal                 // another process runs the shard
	refusedQueueFull                // too many wait
	refusedStopped                  // the engine has ended
	numRefusals
)

// RefusalReasons are the reasons for which Engine.Send refuses a command.
var RefusalReasons = []string{
	refusedInvalid: "invalid", refusedIntent: "missing intent", refusedGuild: "guild of another shard", refusedNoShard: "no such shard",
	refusedNotLocal: "not local", refusedQueueFull: "queue full", refusedStopped: "stopped",
}

// refuse counts a refusal, and returns its error.
func (e *Engine) refuse(why refusal, err error) error {
	e.counts.refusals[why].Add(1)
	return err
}

// refusedByQueue returns why a command queue has refused a command.
func refusedByQueue(err error) refusal {
	var elsewhere *sinks.NotLocalError
	switch {
	case errors.As(err, &elsewhere):
		return refusedNotLocal
	case errors.Is(err, sinks.ErrStopped):
		return refusedStopped
	}
	return refusedQueueFull
}
