//go:build long

package reshard

const long = true // the cases that take longer
