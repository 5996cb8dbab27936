// This file tests that every documented event is found by its name, and nothing else.

package wire

import "testing"

func TestEventIndex(t *testing.T) {
	names := EventNames()
	for i, name := range names {
		if got := EventIndex([]byte(name)); got != i {
			t.Errorf("%s is at %d, want %d", name, got, i)
		}
		for _, other := range []string{name + "S", name[:len(name)-1], "X" + name[1:]} {
			if got := EventIndex([]byte(other)); got >= 0 && names[got] != other {
				t.Errorf("%s is taken for %s", other, names[got])
			}
		}
	}
	for _, name := range []string{"", "A", "REA", "GATEWAY_GAP", "EMBEDDED_ACTIVITY_UPDATE"} {
		if got := EventIndex([]byte(name)); got != -1 {
			t.Errorf("%q is at %d", name, got)
		}
	}
	if n := testing.AllocsPerRun(100, func() { EventIndex([]byte("MESSAGE_CREATE")) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func BenchmarkEventIndex(b *testing.B) {
	var names [][]byte
	for _, name := range EventNames() {
		names = append(names, []byte(name))
	}
	for i := 0; b.Loop(); i++ {
		EventIndex(names[i%len(names)])
	}
}
