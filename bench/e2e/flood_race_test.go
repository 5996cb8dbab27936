//go:build !long || race

package e2e

// floodEvents is how many events a shard gets: 20,000 together. Those of a long test are too
// many for the race detector.
const floodEvents = 2_500
