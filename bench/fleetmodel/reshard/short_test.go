//go:build !long

package reshard

const long = false
