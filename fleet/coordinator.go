// This file declares what the members of a fleet have together.

package fleet

import (
	"context"
	"errors"
	"fmt"
	"time"

	"sluice/resume"
)

// State is what a member of the fleet does.
type State uint8

const (
	Up       State = iota // takes shards
	Draining              // gives its shards to others, and takes none
	Deposed               // was declared dead: its shards are acquired by others
)

// Member is a process of the fleet.
type Member struct {
	Incarnation string // letters and digits, new at each start
	Name        string // the operator's; two may have the same
	Zone        string // where it runs; may be empty
	Weight      int    // its part of the shards, against those of the others; at least 1
	State       State
	Beat        int64  // how often it has beaten
	Address     string // host:port of its status; may be empty
	Version     string
}

// Owner is who may run a shard. Two are the same when they are equal; the zero Owner has never been.
type Owner struct {
	Incarnation string // empty: nobody, and the shard is free
	Epoch       int64  // survives its owner
}

// Shard is a row of the table of owners.
type Shard struct {
	ID    int
	Owner Owner
	Giver string // the incarnation that gave the shard to Owner, which has not taken it yet; or empty
}

// View is the table as a member sees it.
type View struct {
	Revision int64     // of the table; it rises with each change of a shard
	Now      time.Time // of the coordinator
	Plan     Plan
	Reshard  Reshard  // that is pending, or the last one, which was called off
	Members  []Member // all, by incarnation: a deposed one is left out once it owns nothing
	Shards   []Shard  // those that have changed since the revision that was asked for, by id
}

// Plan is what all members of a fleet must have in common.
type Plan struct {
	Generation int    // counts the shard counts that the fleet has had
	Shards     int    // shard count
	Intents    uint64 // wire.Intents
	Format     string // of what the sink writes: broker and format

	// Resharded says that Shards is what the bot was resharded to, when the shard count of the settings was Instead, or would
	// have been: Reshard.Setting. It holds while they still say so, or say none: Join is asked for it then.
	Resharded bool
	Instead   int
}

// Holds reports whether a Reshard has made the shard count, in place of one that a process has in its settings; 0: it has none.
func (p Plan) Holds(setting int) bool {
	return p.Resharded && (setting == 0 || setting == p.Instead)
}

// MisfitError is the refusal of a member whose settings are not those of the fleet.
type MisfitError struct {
	Setting      string // "shard count", "intents" or "format"
	Ours, Theirs string
	Member       string // name of one that runs with Theirs
}

func (e *MisfitError) Error() string {
	return fmt.Sprintf("fleet: %s: %s here, and %s for member %s; all members must have the same", e.Setting, e.Ours, e.Theirs, e.Member)
}

var (
	// ErrDeposed says that the incarnation has been deposed: it owns nothing any more, or soon.
	ErrDeposed = errors.New("fleet: this incarnation has been deposed")
	// ErrChanged says that a step demanded something of the table that is not so, or no more. The
	// next View says what is.
	ErrChanged = errors.New("fleet: the table has changed meanwhile")
)

// Want is a shard to acquire.
type Want struct {
	Shard int
	From  Owner // as it was read: nobody, or one that is deposed
	Above int64 // the epoch is to be above this: see sinks.ClaimedError
}

// Record is the checkpoint of a shard.
type Record struct {
	Shard  int
	Epoch  int64  // of the ownership that it is saved under
	Number int64  // rises with each Save of an incarnation: a late one replaces nothing newer
	Data   []byte // nil: there is none
}

// Coordinator keeps what the members of a fleet have together. Each method but Watch is one step, or
// several of which each stands by itself, and may be repeated after an error whose outcome is not
// known: what was done counts as done. Errors other than those named are of the way to it. Any
// goroutine may call any method.
type Coordinator interface {
	// Look returns the table as it has changed since a revision; 0: all of it.
	Look(ctx context.Context, since int64) (View, error)

	// Join enters a member, which is Up. A fleet in which nobody lives gets its plan, with the next
	// generation if the shard count is another, and a Reshard that is pending is called off; otherwise the plans must be the
	// same, but for Generation, Resharded and Instead, or the error is a *MisfitError. It returns the plan that is in force.
	Join(ctx context.Context, m Member, p Plan) (Plan, error)

	// Beat writes the member, whose Beat the caller has raised, and looks. What has been forgotten of it
	// is written again. ErrDeposed: it is deposed.
	Beat(ctx context.Context, m Member, since int64) (View, error)

	// Depose deposes an incarnation whose beat is still the one that was observed, 0 for one of
	// which there is nothing but shards that it owns. ErrChanged: it has beaten. It is done already
	// when it is deposed.
	Depose(ctx context.Context, incarnation string, beat int64) error

	// Acquire makes a member the owner of shards, each of which must still be From's, who must be
	// nobody, deposed, or the member itself, which gets a higher epoch. It returns those that are the
	// member's now. The epoch becomes the highest
	// of the one before plus one, the coordinator's time in ms, and Above plus one. ErrDeposed:
	// the member is deposed, or not known; ErrChanged: it is draining.
	Acquire(ctx context.Context, incarnation string, want []Want) ([]Shard, error)

	// Give gives an owner's shard to a member that is up, under the next epoch, and returns its new
	// owner, who has to take it. ErrChanged: it is not the owner's, or is not taken by it, or the
	// member is not up.
	Give(ctx context.Context, shard int, from Owner, to string) (Owner, error)
	// Take ends a handover: the shard is its owner's, and cannot be taken back any more.
	Take(ctx context.Context, shard int, by Owner) error
	// TakeBack ends a handover: its giver, if not deposed, owns the shard again, under the next epoch.
	TakeBack(ctx context.Context, shard int, given Owner, giver string) (Owner, error)
	// Leave makes all shards of an incarnation free, and removes it.
	Leave(ctx context.Context, incarnation string) error

	// Confirm returns those of the shards that are not owned under these epochs, taken.
	Confirm(ctx context.Context, incarnation string, epochs map[int]int64) (lost []int, err error)

	// Save keeps records in place of those that their shards have, and returns the shards that are
	// not the incarnation's under the record's epoch, which it leaves as they are.
	Save(ctx context.Context, incarnation string, records []Record) (refused []int, err error)
	// Load returns the records of shards; the caller owns them.
	Load(ctx context.Context, shards []int) ([]Record, error)

	// Watch calls changed when a shard was given, taken, freed or its owner deposed, as far as it is
	// told: notices may be lost, and come more often. It returns when ctx is done.
	Watch(ctx context.Context, changed func())

	Turns
	Reshards

	// Close lets go of it.
	Close() error
}

// Turns are the turns to identify, and the day's budget of them, of a whole bot.
type Turns interface {
	// Ask says which shards of an incarnation wait for a turn, all of them, and returns the turns
	// that they have, those of earlier calls included, and when to ask again. A bucket, shard modulo TurnStride
	// modulo concurrency, has one turn at a time; it is that of the lowest shard which waits, of whomever
	// has asked in the last AskFor. It is given as soon as the one before has ended, so that the
	// connection is made meanwhile, and may be used from IdentifyPause after that one's Identify on.
	// A turn is counted against the budget when it is given. It is void, and stays counted, TurnFor
	// after it may be used, and when its shard does not wait any more. No turn is given while no
	// budget is known, or not more than Reserve is left of it.
	//
	// The incarnation need not be a member's: its questions are forgotten by themselves. It numbers them
	// from 0 on, ascending. ErrChanged: one with a higher number has come in the last AskOrder; one that was late
	// changes nothing.
	Ask(ctx context.Context, incarnation string, number int64, waiting []int) (Grants, error)
	// Sent says that the Identify of a turn with that number is written: that of the bucket's next is
	// IdentifyPause later. ErrChanged: the turn is void.
	Sent(ctx context.Context, incarnation string, shard int, number int64) error
	// Budget replaces what is left of the day's Identifies by what Discord says. Its answer was
	// asked for at the time, of the coordinator's clock; turns given since then, and those that are out,
	// are taken off.
	Budget(ctx context.Context, b Budget, asked time.Time) error
}

// TurnStride lies between the ids that the shards of two generations have in Turns: those of one count have their own
// ids, and the new ones of a Reshard TurnStride more, or a multiple of it. So the old ones come first.
const TurnStride = resume.MaxShards

// Times of turns.
const (
	AskFor        = 3 * time.Second
	AskOrder      = time.Minute
	TurnFor       = 10 * time.Second
	IdentifyPause = 5*time.Second + 250*time.Millisecond
)

// Turn is a shard's turn to identify.
type Turn struct {
	Shard  int
	Number int64         // differs from that of every other turn of the shard
	In     time.Duration // it may be used so long after the answer; negative: since so long
}

// Grants are the turns of a member.
type Grants struct {
	Turns  []Turn
	After  time.Duration // ask again
	Budget Budget        // as it stands
	Known  bool          // Budget is known
}

// Budget is what Discord's session_start_limit says.
type Budget struct {
	Total, Remaining int
	Reserve          int // of Remaining, which no turn is given of
	Reset            time.Time
	Concurrency      int // max_concurrency
}
