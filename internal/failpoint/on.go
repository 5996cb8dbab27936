//go:build failpoints

// This file ends the process.

// Package failpoint ends the process at chosen points of its code, as a crash would: at the
// n-th call of Hit with the name in FAILPOINT=name:n.
package failpoint

import (
	"os"
	"strconv"
	"strings"
	"sync/atomic"
)

var (
	chosen, nth = parse(os.Getenv("FAILPOINT"))
	calls       atomic.Int64
)

func parse(text string) (name string, n int64) {
	name, count, _ := strings.Cut(text, ":")
	n, _ = strconv.ParseInt(count, 10, 64)
	return name, max(n, 1)
}

// Hit marks the point with that name.
func Hit(name string) {
	if name != chosen || calls.Add(1) != nth {
		return
	}
	p, err := os.FindProcess(os.Getpid())
	if err == nil {
		p.Kill()
	}
	select {} // the signal is pending
}
