//go:build !long

package e2e

// defaultKills is how often TestConsumersKilled kills each consumer.
const defaultKills = 10
