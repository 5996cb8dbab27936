//go:build long

// This file has more of what changes while a bot gets other shard counts.

package crash

import "testing"

// See TestReshard: without a Redis.
func TestReshardFile(t *testing.T) {
	t.Parallel()
	reshard(t, ReshardOptions{Sink: "file", Store: "file", From: 2, To: 4, Seed: 2})
}

// See TestReshardFleet: to a multiple, with a member killed after the commit.
func TestReshardFleetMultiple(t *testing.T) {
	t.Parallel()
	reshard(t, ReshardOptions{Members: 3, From: 4, To: 8, Seed: 6})
}
