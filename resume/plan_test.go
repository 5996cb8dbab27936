package resume_test

import (
	"context"
	"errors"
	"maps"
	"testing"

	"sluice/resume"
	"sluice/resume/internal/storetest"
)

// doubtful is a store whose Replace says that it failed, and may have done it all the same.
type doubtful struct {
	*storetest.Memory
	fails, does bool
}

func (s *doubtful) Replace(ctx context.Context, state resume.State) error {
	if !s.fails || s.does {
		s.Memory.Replace(ctx, state)
	}
	if s.fails {
		return errors.New("no answer")
	}
	return nil
}

func (s *doubtful) Close() error { return nil }

func sessionsOf(shards int, id string) map[int]resume.Session {
	all := make(map[int]resume.Session)
	for shard := range shards {
		all[shard] = resume.Session{ID: id, Seq: 7, Shards: shards}
	}
	return all
}

// TestPlan shows which shard count is in force after a bot was resharded, and the settings have changed or not.
func TestPlan(t *testing.T) {
	store := &doubtful{Memory: new(storetest.Memory)}
	open := func(setting int) *resume.Keeper {
		k := &resume.Keeper{Store: store, Bot: 5, Setting: setting, Log: storetest.Quiet}
		if err := k.Load(t.Context()); err != nil {
			t.Fatal(err)
		}
		return k
	}
	if n := open(16).Shards(); n != 16 {
		t.Fatalf("%d shards at the beginning", n)
	}
	k := open(16)
	if err := k.Replace(t.Context(), 24, maps.All(sessionsOf(24, "b")), resume.Starts{}); err != nil {
		t.Fatal(err)
	}
	if n := open(16).Shards(); n != 24 {
		t.Errorf("%d shards, not 24", n)
	}
	if s := open(16).Session(23); s.ID != "b" {
		t.Errorf("shard 23 resumes %+v", s)
	}
	if n := open(24).Shards(); n != 24 {
		t.Errorf("%d shards with the setting that says so", n)
	}
	other := &resume.Keeper{Store: store, Bot: 6, Setting: 16, Log: storetest.Quiet}
	if other.Load(t.Context()); other.Shards() != 16 {
		t.Errorf("another bot has %d shards", other.Shards())
	}
	// The settings change, and change back: what was before does not count any more.
	k = open(32)
	if n := k.Shards(); n != 32 {
		t.Errorf("%d shards, not those of the settings", n)
	}
	if err := k.Save(t.Context(), maps.All(sessionsOf(32, "c")), resume.Starts{}); err != nil {
		t.Fatal(err)
	}
	if n := open(16).Shards(); n != 16 {
		t.Errorf("%d shards after the settings had another count", n)
	}
}

// TestReplaceFails shows that the next Save stores what is in force, whatever a Replace that failed has left.
func TestReplaceFails(t *testing.T) {
	for _, does := range []bool{false, true} {
		store := &doubtful{Memory: new(storetest.Memory)}
		k := &resume.Keeper{Store: store, Bot: 5, Setting: 2, Log: storetest.Quiet}
		if err := k.Load(t.Context()); err != nil {
			t.Fatal(err)
		}
		old := sessionsOf(2, "a")
		if err := k.Save(t.Context(), maps.All(old), resume.Starts{Count: 3}); err != nil {
			t.Fatal(err)
		}
		store.fails, store.does = true, does
		if err := k.Replace(t.Context(), 4, maps.All(sessionsOf(4, "b")), resume.Starts{}); err == nil {
			t.Fatal("it did not fail")
		}
		if err := k.Save(t.Context(), maps.All(old), resume.Starts{Count: 3}); err == nil {
			t.Fatal("what may be stored is not replaced")
		}
		store.fails = false
		if err := k.Save(t.Context(), maps.All(old), resume.Starts{Count: 3}); err != nil {
			t.Fatal(err)
		}
		next := &resume.Keeper{Store: store, Bot: 5, Setting: 2, Log: storetest.Quiet}
		if err := next.Load(t.Context()); err != nil {
			t.Fatal(err)
		}
		if next.Shards() != 2 || next.Session(0) != old[0] || next.Session(3).ID != "" || next.Starts().Count != 3 {
			t.Errorf("with %v: %d shards, 0 resumes %+v, 3 %+v", does, next.Shards(), next.Session(0), next.Session(3))
		}
	}
}
