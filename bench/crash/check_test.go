// This file tests what the consumer of a run keeps.

package crash

import (
	"fmt"
	"slices"
	"testing"
)

// What a former owner of a shard sends when its successor has been heard is dropped, then what is repeated; and
// nothing else.
func TestFollow(t *testing.T) {
	var a arrivals
	for _, e := range []struct {
		shard       int
		epoch       int64
		session     string
		seq         int64
		redelivered bool
	}{
		{0, 5, "a", 1, false}, {0, 5, "a", 2, false}, {1, 5, "b", 1, false},
		{0, 7, "a", 2, false}, // the successor has resumed: repeated
		{0, 7, "a", 3, false},
		{0, 5, "a", 4, false}, // late
		{1, 5, "b", 2, false}, // of another shard
		{0, 5, "c", 1, false}, // late, of a session that the successor does not know
		{0, 7, "a", 4, false},
		{0, 5, "a", 5, true}, // older, and not late
		{0, 5, "a", 6, false},
		{0, 9, "d", 1, false},
	} {
		a.follow(e.epoch, e.redelivered, e.shard, e.session, e.seq, "X", nil)
	}
	var got []string
	for _, e := range a.events {
		got = append(got, fmt.Sprint(e.Session, e.Seq))
	}
	if want := []string{"a1", "a2", "b1", "a3", "b2", "a4", "a5", "d1"}; !slices.Equal(got, want) {
		t.Errorf("kept %v, want %v", got, want)
	}
	if a.former != 3 || a.again != 1 || a.older != 0 {
		t.Errorf("%d of former owners, %d repeated, %d of ended sessions", a.former, a.again, a.older)
	}
	if a.follow(9, false, 0, "a", 7, "X", nil); a.older != 1 {
		t.Error("two sessions of a shard at once are not seen")
	}
}
