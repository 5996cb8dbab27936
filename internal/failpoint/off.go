//go:build !failpoints

// This file is what a release has of the package: nothing.

// Package failpoint ends the process at chosen points of its code, as a crash would, in
// builds with the tag failpoints. Others have none of it.
package failpoint

// Hit marks the point with that name.
func Hit(string) {}
