// This file has the tests of a package run beside each other.

package sinktest

import (
	"flag"
	"os"
	"strconv"
	"testing"
)

// together is how many tests run at once: they wait for servers most of the time, so that it is
// more than there are cores.
const together = 8

// Main runs a package's tests, those that are parallel as many at a time as is good for
// tests that wait for servers, unless -parallel says how many.
func Main(m *testing.M) {
	flag.Parse()
	set := false
	flag.Visit(func(f *flag.Flag) { set = set || f.Name == "test.parallel" })
	if !set {
		flag.Set("test.parallel", strconv.Itoa(together))
	}
	os.Exit(m.Run())
}
