// This file reads what the members of a fleet have together in Redis of a resharding.

package crash

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/redis/rueidis"
)

// reshardStage is how far a resharding has come.
type reshardStage int

const (
	idle reshardStage = iota
	connecting
	comparing
	switching
	committed
)

func (s reshardStage) String() string {
	return [...]string{"idle", "connecting", "comparing", "switching", "committed"}[s]
}

// lasts is about how long.
func (s reshardStage) lasts() time.Duration {
	switch s {
	case switching:
		return 50 * time.Millisecond
	case committed:
		return 150 * time.Millisecond
	}
	return 2 * time.Second
}

// tableState is what the table says.
type tableState struct {
	generation, shards int // in force
	stage              reshardStage
	to, ready          int // of what is pending
	failures           int
	failure            string
}

func (s tableState) String() string {
	return fmt.Sprintf("%v: %d shards in force, %d of %d new ones ready, %d attempts aborted: %s", s.stage, s.shards, s.ready, s.to, s.failures, s.failure)
}

// fleetTable reads it.
type fleetTable struct {
	client rueidis.Client
	prefix string // of the keys; empty: not known yet
}

func newFleetTable(address string) (*fleetTable, error) {
	c, err := rueidis.NewClient(rueidis.ClientOption{InitAddress: []string{address}, ForceSingleClient: true, DisableCache: true})
	return &fleetTable{client: c}, err
}

func (t *fleetTable) close() { t.client.Close() }

// look reads it. A fleet has joined.
func (t *fleetTable) look(ctx context.Context) (s tableState, err error) {
	c := t.client
	if t.prefix == "" {
		keys, err := c.Do(ctx, c.B().Keys().Pattern("*:plan").Build()).AsStrSlice()
		if err != nil || len(keys) != 1 {
			return s, fmt.Errorf("the fleet's keys: %q, %w", keys, err)
		}
		t.prefix = strings.TrimSuffix(keys[0], "plan")
	}
	all := c.DoMulti(ctx,
		c.B().Multi().Build(),
		c.B().Hgetall().Key(t.prefix+"plan").Build(), c.B().Hgetall().Key(t.prefix+"reshard").Build(), c.B().Hvals().Key(t.prefix+"voices").Build(),
		c.B().Exec().Build(),
	)
	parts, err := all[len(all)-1].ToArray()
	if err != nil {
		return s, err
	}
	plan, err := parts[0].AsStrMap()
	if err != nil {
		return s, err
	}
	reshard, err := parts[1].AsStrMap()
	if err != nil {
		return s, err
	}
	voices, err := parts[2].AsStrSlice()
	if err != nil {
		return s, err
	}
	number := func(text string) int {
		n, _ := strconv.Atoi(text) // missing: 0
		return n
	}
	s.generation, s.shards = number(plan["generation"]), number(plan["shards"])
	s.to, s.failures, s.failure = number(reshard["shards"]), number(reshard["failures"]), reshard["failure"]
	for _, v := range voices { // "revision prepared ready"
		s.ready += number(v[strings.LastIndexByte(v, ' ')+1:])
	}
	switch stage := reshard["stage"]; {
	case stage == "1" && s.ready < s.to:
		s.stage = connecting
	case stage == "1":
		s.stage = comparing
	case stage == "2":
		s.stage = switching
	}
	return s, nil
}
