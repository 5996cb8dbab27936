// This file is the refusal of a store that knows whose a shard is.

package resume

import "fmt"

// RefusedError is of a Save whose other checkpoints are stored: these shards are run by another
// process now, and what this one knows of them counts no more.
type RefusedError struct{ Shards []int }

func (e *RefusedError) Error() string {
	return fmt.Sprintf("%d shards are another process's by now, the first is shard %d", len(e.Shards), e.Shards[0])
}
