// This file tests the store in memory.

package resume

import (
	"sync"
	"testing"

	"sluice/engine"
)

var _ engine.SessionStore = (*Memory)(nil)

func TestMemory(t *testing.T) {
	var m Memory
	if s, ok := m.Load(0); ok {
		t.Errorf("an empty store holds %+v", s)
	}
	var wg sync.WaitGroup
	for shard := range 8 {
		wg.Go(func() {
			for seq := range int64(100) {
				m.Save(shard, engine.Session{ID: "id", Seq: seq, Shards: 8})
			}
		})
	}
	wg.Wait()
	for shard := range 8 {
		if s, ok := m.Load(shard); !ok || s != (engine.Session{ID: "id", Seq: 99, Shards: 8}) {
			t.Errorf("shard %d: %+v, %v", shard, s, ok)
		}
	}
	m.Save(3, engine.Session{})
	if s, ok := m.Load(3); ok {
		t.Errorf("a removed session is still there: %+v", s)
	}
}
