// This file declares how the members of a fleet change its shard count together.

package fleet

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// ReshardStage is how far a Reshard has come at the coordinator.
type ReshardStage uint8

const (
	ReshardNone      ReshardStage = iota // none is pending
	ReshardPending                       // the new shards are begun beside the old ones, which go on
	ReshardSwitching                     // the old shards stop; the new ones are prepared
)

// Reshard is another shard count that is to be, or was called off. It is a transaction of the members in two phases:
// every owner of shards agrees to an attempt, the attempt begins, each prepares what it will own, and one step puts all
// of that in force. What it demands of the table it demands of one revision, so that a shard which changes its owner
// ends the attempt.
type Reshard struct {
	Stage      ReshardStage
	Generation int // that it makes: one above the plan's. 0: there never was any
	Shards     int // the count that is to be
	// Setting is the shard count of the settings when it was proposed, or that which they would have had if there was none, as
	// another member's may. It becomes Plan.Instead.
	Setting int
	// Attempt is the number of the attempt at the switch; each is another, and above those before.
	Attempt  int64
	Failures int // attempts that were aborted
	// Since is when the stage of this attempt was entered, by the coordinator's clock.
	Since time.Time
	// Failure is why the last attempt was aborted, or, when none is pending, why the last one was called off. "": neither.
	Failure string
	Voices  []Voice // of this attempt, by incarnation
}

// Voice is what a member has said of an attempt.
type Voice struct {
	Incarnation string
	Revision    int64 // of the table that it agreed to the switch with; 0: it has not agreed
	Prepared    bool
	Ready       int // of its new shards
}

// Attempt is an attempt at the switch.
type Attempt struct {
	Generation int // of the Reshard
	Number     int64
}

// At returns the present attempt.
func (r *Reshard) At() Attempt { return Attempt{r.Generation, r.Attempt} }

// Reshards are the steps of a Reshard, which a Coordinator has. Each demands that what it is about is so, or the error is
// ErrChanged, and counts as done when it is repeated.
type Reshards interface {
	// Propose begins a Reshard to another count: its Generation, Shards and Setting. The plan must be of the generation before,
	// and none pending. It is a *StartsError if the session starts that are left beside the reserve are fewer than Shards.
	Propose(ctx context.Context, r Reshard) error

	// Report says how many new shards are ready of a member that does not agree, or not any more. The stage must be
	// ReshardPending, or ReshardSwitching if the member has not agreed: so does one that has joined since.
	Report(ctx context.Context, incarnation string, a Attempt, ready int) error

	// Agree says that a member is ready for the switch with the shards that it has, all of them, under these epochs, as of
	// that revision of the table, and so many new ones. None of them may be pending in a handover. The stage must be ReshardPending.
	Agree(ctx context.Context, incarnation string, a Attempt, revision int64, ready int, epochs map[int]int64) error

	// Switch enters ReshardSwitching. All shards must be owned by members that are not deposed, and have agreed as of the table's
	// present revision. All other members that are not deposed must have said something: one of an earlier version, which
	// would go on with the former count, does not.
	Switch(ctx context.Context, a Attempt) error

	// Prepare adds what a member will own: owners and records of new shards. Each Epoch must be above that of the shard of the same id.
	// The stage must be ReshardSwitching, and the table's revision that of Switch. With done the member says that this is all.
	Prepare(ctx context.Context, incarnation string, a Attempt, next []Record, done bool) error

	// Commit puts in force what was prepared, in one step: the owners and the records, and the plan's next generation. All
	// members that have agreed must have prepared, none may be deposed, there must be all of the new shards, and the
	// table's revision be that of Switch. All other members must have said something, as with Switch.
	Commit(ctx context.Context, a Attempt) error

	// Abort ends an attempt: the stage is ReshardPending again, of the next attempt, or, after so many failures, none is
	// pending. An attempt that was aborted is never committed.
	Abort(ctx context.Context, a Attempt, why string, failures int) error

	// CallOff ends a Reshard that is not committed, in an attempt that must be the present one: a call that is late does not
	// end the next Reshard.
	CallOff(ctx context.Context, a Attempt, why string) error
}

// MaxFailure is how many bytes of a Failure are kept.
const MaxFailure = 500

// StartsError says that there are not enough session starts left for a Reshard, the reserve kept.
type StartsError struct {
	Needed, Left int
	Reset        time.Time // zero: it is not known, and nor is Left
}

func (e *StartsError) Error() string {
	if e.Reset.IsZero() {
		return fmt.Sprintf("fleet: %d session starts are needed, and it is not known how many are left", e.Needed)
	}
	return fmt.Sprintf("fleet: %d session starts are needed, and %d are left beside the reserve, until %s", e.Needed, max(e.Left, 0), e.Reset.UTC().Format("2006-01-02 15:04 UTC"))
}

// ErrAgain is the answer of Part.Switch when old and new shards are to be compared again.
var ErrAgain = errors.New("fleet: old and new shards are to be compared again")

// classes returns how many classes of shards there are of two counts: the ids that are the same modulo that. The shards
// that a guild has of both counts are of one class, which runs at one member while the bot is resharded: there their
// events are compared.
func classes(a, b int) int {
	for b != 0 {
		a, b = b, a%b
	}
	return a
}
