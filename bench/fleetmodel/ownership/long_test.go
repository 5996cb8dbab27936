//go:build long

package ownership

const long = true // the cases that take longer
