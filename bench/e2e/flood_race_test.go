//go:build race

package e2e

// floodEvents is less than without the race detector, which slows down the
// simulator and the test but not the program between them.
const floodEvents = 2_500
