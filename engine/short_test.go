//go:build !long

package engine_test

// everyReader says that byTurns runs a test with each reader. With the tag long (make test-long) it does.
const everyReader = false
