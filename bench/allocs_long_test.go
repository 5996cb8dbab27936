//go:build long && !race

package bench

const warm, runs = 400, 500

var outputs = []string{"discard", "stdio"}
