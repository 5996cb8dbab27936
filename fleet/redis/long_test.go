//go:build unix && long

// This file compares the coordinators at length.

package redis

import "testing"

func TestRandomLong(t *testing.T) {
	for seed := range uint64(4) {
		random(t, 250_000, 100+seed)
	}
}
