// This file tests the store in memory, with which the keeper is tested.

package storetest

import (
	"testing"

	"sluice/resume"
)

func TestMemory(t *testing.T) {
	m := new(Memory)
	Test(t, func(*testing.T) resume.Store { return m })
}

func TestMemoryHostile(t *testing.T) {
	stores := map[string]*Memory{}
	Hostile(t, func(t *testing.T) resume.Store {
		if stores[t.Name()] == nil {
			stores[t.Name()] = new(Memory)
		}
		return stores[t.Name()]
	})
}
