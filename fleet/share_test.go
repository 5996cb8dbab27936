package fleet

import (
	"fmt"
	"testing"
)

// start returns a fleet that has come to rest.
func start(t *testing.T, seed int64, shards, members int) *world {
	w := newWorld(t, seed, shards)
	for i := range members {
		w.join(fmt.Sprintf("a%d", i), "", 1)
	}
	w.run()
	w.balanced(false)
	w.log = nil
	return w
}

func TestShareStart(t *testing.T) {
	w := newWorld(t, 1, 64)
	for i := range 5 {
		w.join(fmt.Sprint("a", i), "", 1)
		if i%2 == 0 {
			w.step()
		}
	}
	took := w.run()
	w.balanced(false)
	t.Log(took, len(w.log), w.shares())
}

func TestShareJoin(t *testing.T) {
	w := start(t, 1, 64, 1)
	w.join("b", "", 1)
	least := w.least()
	took := w.run()
	w.balanced(false)
	t.Log(took, len(w.log), least, w.shares())
}
