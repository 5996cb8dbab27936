// This file tests that no store keeps the process from ending.

package cli

import (
	"context"
	"iter"
	"log/slog"
	"maps"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"sluice/engine"
	"sluice/resume"
)

// stuck is a store that never answers.
type stuck struct {
	resume.Memory
	free chan struct{}
}

func (s *stuck) Save(context.Context, resume.State) error {
	<-s.free
	return nil
}

// oneSession is an engine with a session that no store has yet.
type oneSession struct{}

func (oneSession) Sessions() iter.Seq2[int, engine.Session] {
	return maps.All(map[int]engine.Session{0: {ID: "a", Seq: 1, Shards: 1}})
}
func (oneSession) Starts() engine.Starts { return engine.Starts{} }
func (oneSession) Stored(int, string)    {}

func TestStuckStoreEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &stuck{free: make(chan struct{})}
		k := &keeper{Keeper: resume.Keeper{Store: s, Log: slog.New(slog.DiscardHandler)}}
		if _, _, err := k.Load(t.Context()); err != nil {
			t.Fatal(err)
		}
		k.start(oneSession{})
		time.Sleep(time.Second) // it is in the middle of a Save
		began := time.Now()
		err := k.end(oneSession{})
		if err == nil || !strings.Contains(err.Error(), "no answer") {
			t.Errorf("ended with %v", err)
		}
		if d := time.Since(began); d != endTimeout {
			t.Errorf("ended after %v, want %v", d, endTimeout)
		}
		close(s.free)
	})
}
