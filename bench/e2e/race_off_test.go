//go:build !race

package e2e

// memoryFactor multiplies the limits of memory.
const memoryFactor = 1
