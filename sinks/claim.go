// This file is what a fleet asks of a sink that can refuse what a former owner of a shard writes.

package sinks

import (
	"context"
	"fmt"
)

// Claimer is a Sink whose broker refuses, in the same step as the write, an event whose Epoch
// is not the one that was claimed for its shard last.
type Claimer interface {
	// Claim makes the epochs, by shard, those that are written from now on, under the sink's own
	// name of an owner, and returns where the shards stand. What a former owner has written before is
	// in that, and nothing that it writes after it is taken. It may be called again after an
	// error. A claim below one that the broker knows is a *ClaimedError, and the others stand.
	// Claim may be called by any goroutine, while Publish runs.
	Claim(ctx context.Context, epochs map[int]int64) (map[int]Position, error)
}

// Position is the last event of a shard that the broker has. The zero value is that of a shard
// of which it has none.
type Position struct {
	Session string // Discord's session id
	Seq     int64  // of Session; of no use if Ended
	Ended   bool   // the gap at the end of Session is written
	Began   int64  // of Session: see Event.Began
}

// ClaimedError says that shards were claimed with higher epochs: those who claim them now must
// have higher ones still. The ownership was forgotten, or is another's by now.
type ClaimedError struct{ Epochs map[int]int64 }

func (e *ClaimedError) Error() string {
	return fmt.Sprintf("%d shards were claimed with higher epochs", len(e.Epochs))
}
