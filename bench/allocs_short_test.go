//go:build !long && !race

package bench

// An event waits one or two milliseconds for the poll interval.
const warm, runs = 200, 200

var outputs = []string{"stdio"} // which has all that discard has
