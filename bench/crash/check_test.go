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
		shard   int
		epoch   int64
		session string
		seq     int64
	}{
		{0, 5, "a", 1}, {0, 5, "a", 2}, {1, 5, "b", 1},
		{0, 7, "a", 2}, // the successor has resumed: repeated
		{0, 7, "a", 3},
		{0, 5, "a", 4}, // late
		{1, 5, "b", 2}, // of another shard
		{0, 5, "c", 1}, // late, of a session that the successor does not know
		{0, 7, "a", 4},
		{0, 9, "d", 1},
	} {
		a.follow(e.epoch, e.shard, e.session, e.seq, "X", nil)
	}
	var got []string
	for _, e := range a.events {
		got = append(got, fmt.Sprint(e.Session, e.Seq))
	}
	if want := []string{"a1", "a2", "b1", "a3", "b2", "a4", "d1"}; !slices.Equal(got, want) {
		t.Errorf("kept %v, want %v", got, want)
	}
	if a.former != 2 || a.again != 1 || a.older != 0 {
		t.Errorf("%d of former owners, %d repeated, %d of ended sessions", a.former, a.again, a.older)
	}
	if a.follow(9, 0, "a", 5, "X", nil); a.older != 1 {
		t.Error("two sessions of a shard at once are not seen")
	}
}
