//go:build long

package admin

const wrongTokens = 1_000_000
