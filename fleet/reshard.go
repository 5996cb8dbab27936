// This file is how a Reshard is asked for, called off and shown.

package fleet

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"sluice/resume"
)

// ReshardPlan is what Reshard would do.
type ReshardPlan struct {
	From, To int // shard counts
	// Classes is how many classes of shards there are that each have to be at one member, old and new ones, until the switch;
	// Moves is how many shards have to move for it.
	Classes, Moves int
	// Largest is how many of the new shards one member has at the switch, at most. They are balanced after it.
	Largest int
}

// Errors of PlanReshard, Reshard and CallOff.
var (
	ErrResharding    = errors.New("fleet: the bot is being resharded already: that has to end, or to be called off, first")
	ErrNotResharding = errors.New("fleet: the bot is not being resharded")
	errInForce       = errors.New("fleet: the new shards are in force already")
)

// PlanReshard returns what Reshard would do. Whether there are session starts enough is found out by Reshard.
func (f *Fleet) PlanReshard(ctx context.Context, shards int) (ReshardPlan, error) {
	v, err := f.o.Coordinator.Look(ctx, 0)
	if err != nil {
		return ReshardPlan{}, fmt.Errorf("fleet: reshard: %w", err)
	}
	p := ReshardPlan{From: v.Plan.Shards, To: shards}
	switch {
	case shards < 1 || shards > resume.MaxShards:
		return p, fmt.Errorf("fleet: %d is no shard count: it is 1 to %d", shards, resume.MaxShards)
	case shards == p.From:
		return p, fmt.Errorf("fleet: the bot has %d shards already", shards)
	case p.From == 0:
		return p, errors.New("fleet: nobody has joined yet")
	case v.Reshard.Stage != ReshardNone:
		return p, ErrResharding
	}
	p.Classes = classes(p.From, shards)
	most, has := make([]int, p.Classes), make(map[Owner]int) // by class, and by class and owner
	for _, s := range v.Shards {
		if s.ID < p.From && s.Owner.Incarnation != "" {
			of := Owner{s.Owner.Incarnation, int64(s.ID % p.Classes)}
			has[of]++
			most[s.ID%p.Classes] = max(most[s.ID%p.Classes], has[of])
		}
	}
	p.Moves = p.From
	for _, n := range most {
		p.Moves -= n
	}
	p.Largest = largest(v, shards, f.o.Rules)
	return p, nil
}

// largest returns how many new shards one member has at most when the classes are gathered.
func largest(v View, shards int, rules Rules) int {
	var t Table
	t.Update(v, 0, time.Now())
	t.Reshard = Reshard{Stage: ReshardPending, Shards: shards}
	d := division{me: -1, table: &t, rules: rules.withDefaults()}
	d.enter("")
	d.count()
	d.house(classes(t.Plan.Shards, shards))
	most := int64(0)
	for i := range d.places {
		most = max(most, d.places[i].has)
	}
	return int(most) * shards / t.Plan.Shards // a class has the same part of both counts
}

// CountFor returns the next shard count, from shards on, in which there is a class of shards for each member: with fewer, some
// would have no shards at the switch, and others all of them. It is the next multiple of the present count at most, of which
// nothing moves.
func (f *Fleet) CountFor(shards int) int {
	s := f.Snapshot()
	up := 0
	for _, m := range s.Members {
		if m.State == Up {
			up++
		}
	}
	return countFor(s.Plan.Shards, shards, up)
}

func countFor(from, shards, members int) int {
	for from > 0 && shards%from != 0 && classes(from, shards) < members {
		shards++
	}
	return shards
}

// Reshard has the fleet run another shard count in place of its own, without a gap: the members start the new shards beside the
// old ones, and switch together when all have seen both get the same events. It returns when that is pending; Resharding
// says what becomes of it. It is a *StartsError if there are not enough session starts left beside the reserve.
//
// It goes on when members die or join, this one included. CallOff ends it until it is committed.
func (f *Fleet) Reshard(ctx context.Context, shards int) error {
	if _, err := f.PlanReshard(ctx, shards); err != nil {
		return err
	}
	v, err := f.o.Coordinator.Look(ctx, 0)
	if err == nil {
		// Others may have the setting that this member has not.
		r := Reshard{Generation: v.Plan.Generation + 1, Shards: shards, Setting: cmp.Or(f.o.Plan.Shards, v.Plan.Instead, v.Plan.Shards)}
		err = f.persist(ctx, func(ctx context.Context) error { return f.o.Coordinator.Propose(ctx, r) })
	}
	f.stir()
	switch starts := (*StartsError)(nil); {
	case errors.As(err, &starts):
		return starts
	case errors.Is(err, ErrChanged):
		return ErrResharding
	case err != nil:
		return fmt.Errorf("fleet: reshard: %w", err)
	}
	return nil
}

// CallOff ends a Reshard that is not committed yet: the shards stay as they were.
func (f *Fleet) CallOff(ctx context.Context) error {
	err := ErrChanged
	for n := 0; n < 4 && errors.Is(err, ErrChanged); n++ { // an attempt may end meanwhile
		var v View
		if v, err = f.o.Coordinator.Look(ctx, 0); err != nil {
			break
		}
		r := &v.Reshard
		switch {
		case r.Stage == ReshardNone && n == 0:
			return ErrNotResharding
		case r.Stage != ReshardNone:
			err = f.persist(ctx, func(ctx context.Context) error {
				return f.o.Coordinator.CallOff(ctx, r.At(), "it was asked for at member "+f.o.Member.Name)
			})
		case v.Plan.Generation >= r.Generation:
			f.stir()
			return errInForce
		}
	}
	f.stir()
	switch {
	case err != nil:
		return fmt.Errorf("fleet: call off: %w", err)
	}
	return nil
}

// persist repeats a step a few times whose outcome is not known.
func (f *Fleet) persist(ctx context.Context, step func(ctx context.Context) error) error {
	for n := 0; ; n++ {
		call, cancel := context.WithTimeout(ctx, callTimeout)
		err := step(call)
		cancel()
		if err == nil || n == 3 || errors.Is(err, ErrChanged) || errors.As(err, new(*StartsError)) || sleep(ctx, f.o.Beat/10) != nil {
			return err
		}
	}
}

// ReshardStatus is what becomes of a Reshard, as this member has seen it last.
type ReshardStatus struct {
	Stage    ReshardStage
	From, To int       // shard counts; To is that of the last one if none is pending, 0 if there was none
	Since    time.Time // of this stage and attempt, by the coordinator's clock
	Attempt  int       // from 1 on
	Failure  string    // why the last attempt was aborted, and who has said nothing of this one; or, if none is pending, why the last Reshard was called off
	Classes  int       // that there are
	Gathered int       // of them, those that are at one member
	Ready    int       // new shards, of all members
	Owners   int       // members that own shards
	Agreed   int       // of them, those that agree to the switch as the table is
	Prepared int       // and those that have prepared
}

// Resharding returns what becomes of a Reshard.
func (f *Fleet) Resharding() ReshardStatus {
	if s := f.snapshot.Load(); s != nil {
		return s.Reshard
	}
	return ReshardStatus{}
}

// resharding is the status by the table.
func (t *Table) resharding() ReshardStatus {
	r := &t.Reshard
	s := ReshardStatus{Stage: r.Stage, From: t.Plan.Shards, To: r.Shards, Since: r.Since, Attempt: r.Failures + 1, Failure: r.Failure}
	if r.Stage == ReshardNone {
		s.Attempt = r.Failures
		return s
	}
	if silent := t.unheard(); len(silent) > 0 && t.Coordinator.Sub(r.Since) >= unheardFor {
		if s.Failure != "" {
			s.Failure += "; "
		}
		s.Failure += fmt.Sprintf("nothing is said of it by %s: is this an earlier version, which cannot be resharded?", strings.Join(silent, ", "))
	}
	s.Classes = classes(t.Plan.Shards, r.Shards)
	apart := make([]bool, s.Classes)
	for i := range t.Shards {
		c := i % s.Classes
		if row := &t.Shards[i]; row.Giver != "" || row.Owner.Incarnation == "" || row.Owner.Incarnation != t.Shards[c].Owner.Incarnation {
			apart[c] = true
		}
	}
	for _, a := range apart {
		if !a {
			s.Gathered++
		}
	}
	for incarnation := range t.owned {
		if incarnation != "" {
			s.Owners++
		}
	}
	for _, v := range r.Voices {
		if t.owned[v.Incarnation] == 0 { // it may be dead
			continue
		}
		s.Ready += v.Ready
		if v.Revision != 0 && (v.Revision == t.Revision || r.Stage == ReshardSwitching) {
			s.Agreed++
		}
		if v.Prepared {
			s.Prepared++
		}
	}
	return s
}

// unheardFor is after how long a status names who has said nothing.
const unheardFor = 30 * time.Second

// unheard returns the names of those who have said nothing of the present attempt.
func (t *Table) unheard() (names []string) {
	for _, m := range t.Members {
		said := slices.ContainsFunc(t.Reshard.Voices, func(v Voice) bool { return v.Incarnation == m.Incarnation })
		if m.State != Deposed && !said {
			names = append(names, m.Name)
		}
	}
	return names
}
