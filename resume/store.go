// This file declares what is kept, and what a store must do.

package resume

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"sluice/sinks"
	"sluice/wire"
)

// Checkpoint is what resumes a shard, and whom it is for.
type Checkpoint struct {
	Session
	Intents wire.Intents // that the session was begun with
	Bot     uint64       // FingerprintAt of the token and server that it was begun with; 0: neither these nor Intents are known
	At      time.Time    // when it was taken; stores keep it to the millisecond; zero: not known
}

// Empty reports whether there is nothing to keep.
func (c *Checkpoint) Empty() bool { return c.ID == "" && c.Gaps == [2]sinks.Gap{} }

// State is what a store holds.
type State struct {
	Checkpoints map[int]Checkpoint // by shard
	Starts      Starts             // kept to the millisecond
	Plan        Plan
	Unreadable  []error // what Load has left out, each with its name
}

// Plan is the shard count that a bot was resharded to. The zero value: it was not.
type Plan struct {
	Shards  int    // the count in force
	Instead int    // of what the settings said then; 0: nothing. With another setting the Plan does not count
	Bot     uint64 // FingerprintAt of the token and server
}

// Check returns an error if there can be no such plan.
func (p Plan) Check() error {
	if p.Shards < 1 || p.Shards > MaxShards || p.Instead < 0 || p.Instead > MaxShards {
		return fmt.Errorf("a plan of %d shards instead of %d", p.Shards, p.Instead)
	}
	return nil
}

// ErrNoReplace is the error of Replace where it cannot be done in one step.
var ErrNoReplace = errors.New("the persisted sessions cannot be replaced in one step")

// Replacer is a Store that can be replaced as a whole.
type Replacer interface {
	Store

	// Replace stores the checkpoints and the Plan of a state in place of all checkpoints, in one step: whatever happens,
	// Load finds either all of them or all that were there before. After an error it may be either. Starts are left alone.
	Replace(ctx context.Context, state State) error
}

// Store keeps a State. One goroutine at a time calls its methods.
type Store interface {
	// Load returns what is stored. The caller owns it. A record that cannot be read is left
	// out, and costs no other.
	Load(ctx context.Context) (State, error)
	// Save stores the checkpoints of changes in place of those that their shards
	// had; the zero Checkpoint removes its shard's, and so does one that could not be
	// loaded again. Starts and Plan are stored unless they are zero. After an error any of them may be stored, and Save is called
	// again with all of them, or newer ones. Also without changes it looks, now and then, whether
	// what it has saved is there, and writes it again, or returns an error that is ErrLost.
	Save(ctx context.Context, changes State) error
	// Close releases the store.
	Close() error
}

// ErrLost says that checkpoints which were saved are not there: somebody has emptied the store, or
// it came back without them. All are to be saved again.
var ErrLost = errors.New("the store has lost checkpoints")

// RefusedError says that the snapshots of some shards were refused, since others own these by now. Those of the
// other shards are persisted if Err is nil.
type RefusedError struct {
	Shards []int
	Err    error
}

func (e *RefusedError) Error() string {
	text := fmt.Sprintf("%d of the shards are owned by others", len(e.Shards))
	if e.Err != nil {
		text += "; the others: " + e.Err.Error()
	}
	return text
}

// Unwrap returns Err.
func (e *RefusedError) Unwrap() error { return e.Err }

// CheckEvery is how often a store is asked for what it should have, at least.
const CheckEvery = 5 * time.Second

// Fingerprint returns what distinguishes the sessions of one token from those of another. It
// says nothing about the token, which has 200 bits that nobody can guess.
func Fingerprint(token string) uint64 {
	sum := sha256.Sum256([]byte("sluice session of " + token))
	return binary.BigEndian.Uint64(sum[:])
}

// FingerprintAt returns what distinguishes the sessions of one token at one server, named by its host,
// from those of another token or server.
func FingerprintAt(token, host string) uint64 { return Fingerprint(token + " at " + host) }

// Apply makes changes to s, as Save does to what is stored.
func (s *State) Apply(changes State) {
	if s.Checkpoints == nil {
		s.Checkpoints = make(map[int]Checkpoint)
	}
	changes = changes.Checked()
	for shard, c := range changes.Checkpoints {
		if c.Empty() && c.Epoch == 0 { // with one, it is to be known under which there is none
			delete(s.Checkpoints, shard)
		} else {
			s.Checkpoints[shard] = c
		}
	}
	if changes.Starts != (Starts{}) {
		s.Starts = changes.Starts
	}
	if changes.Plan != (Plan{}) {
		s.Plan = changes.Plan
	}
}

// Forget removes all checkpoints from a store, and returns how many there were.
func Forget(ctx context.Context, s Store) (n int, err error) {
	state, err := s.Load(ctx)
	if err != nil {
		return 0, err
	}
	for shard := range state.Checkpoints {
		state.Checkpoints[shard] = Checkpoint{}
	}
	return len(state.Checkpoints), s.Save(ctx, state)
}
