//go:build race

package e2e

// memoryFactor is by how much the race detector, which is in the gateway too, multiplies its
// memory: five to ten times, as its documentation has it.
const memoryFactor = 10
