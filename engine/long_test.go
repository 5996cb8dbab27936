//go:build long

package engine_test

// See short_test.go.
const everyReader = true
