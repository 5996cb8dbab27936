// This file documents the package.

// Package pool holds what carries an event from the goroutine that reads it to
// the one that hands it on: a Ring for the way, and pooled Buffers for the bytes.
//
// Neither allocates once it is warm. With the build tag poison a released Buffer
// is overwritten, and using it afterwards or releasing it twice panics; the tests
// run both ways.
package pool
