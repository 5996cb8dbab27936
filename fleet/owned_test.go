// This file tests which shards a member takes for its own.

package fleet

import (
	"context"
	"errors"
	"testing"

	"sluice/resume"
)

// frail is an engine whose shard 9 does not start.
type frail struct{}

func (frail) Add(_ context.Context, shard int, _ resume.Session) error {
	if shard == 9 {
		return errors.New("no room")
	}
	return nil
}

func (frail) Remove(_ context.Context, shard int) (resume.Session, error) {
	if shard == 3 {
		return resume.Session{}, errors.New("not drained")
	}
	return resume.Session{}, nil
}

func (frail) Depose(int) {}

// A member owns what its engine has under that epoch, unless a view says otherwise.
func TestOwns(t *testing.T) {
	f := New(Options{})
	e := noted{frail{}, &f.runs}
	owns := func(when string, want ...int) {
		t.Helper()
		for shard := range 10 {
			has := false
			for _, w := range want {
				has = has || w == shard
			}
			if f.Owns(shard, 7) != has {
				t.Errorf("%s: shard %d is owned: %v", when, shard, !has)
			}
		}
	}
	for shard := range 10 {
		e.Add(t.Context(), shard, resume.Session{Epoch: 7})
	}
	owns("added", 0, 1, 2, 3, 4, 5, 6, 7, 8)
	e.Depose(0)
	e.Remove(t.Context(), 1)
	e.Remove(t.Context(), 3)
	owns("one deposed, one removed", 2, 3, 4, 5, 6, 7, 8)
	f.runs.see("me", []Shard{{ID: 0, Owner: Owner{"me", 7}}, {ID: 2, Owner: Owner{"me", 8}}, {ID: 3, Owner: Owner{"you", 9}, Giver: "me"}, {ID: 4, Owner: Owner{"me", 7}}}, false)
	owns("some have changed", 4, 5, 6, 7, 8)
	f.runs.see("me", []Shard{{ID: 5, Owner: Owner{"me", 7}}, {ID: 6, Owner: Owner{"", 7}}}, true)
	owns("all are seen", 5)
	if e.Add(t.Context(), 5, resume.Session{Epoch: 8}); f.Owns(5, 7) || !f.Owns(5, 8) {
		t.Error("a shard is owned under an epoch that it had")
	}
}
