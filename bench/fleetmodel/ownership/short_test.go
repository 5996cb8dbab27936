//go:build !long

package ownership

const long = false
