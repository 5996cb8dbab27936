//go:build long && !race

package e2e

// floodEvents is how many events a shard gets: 100,000 together.
const floodEvents = 12_500
