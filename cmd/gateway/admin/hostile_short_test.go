//go:build !long

package admin

// wrongTokens is how many are tried; with the build tag long it is a million.
const wrongTokens = 40_000
