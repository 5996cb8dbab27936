// Package e2e tests what needs more than this repository: clients of others
// against the simulated Discord, and the gateway as a program, from its
// environment to its exit code. It is a module of its own, so that what it
// requires is not required by the product.
package e2e

import (
	"flag"
	"os"
	"runtime"
	"strconv"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"sluice/bench/reexec"
)

// TestMain lets the test's own binary be the gateway, and fails if a test left a goroutine
// behind.
func TestMain(m *testing.M) {
	reexec.Main(map[string]func() int{"gateway": reexec.Gateway})
	// Most of what they do is to wait for programs. A flag still has the last word.
	flag.Set("test.parallel", strconv.Itoa(3*runtime.GOMAXPROCS(0)))
	// disgo never ends this one, not even when its client is closed.
	goleak.VerifyTestMain(tests{m}, goleak.IgnoreAnyFunction("github.com/disgoorg/disgo/rest.(*rateLimiterImpl).cleanup"),
		goleak.Cleanup(func(code int) {
			removeInstallations()
			os.Exit(code)
		}))
}

// tests ends what they share before the goroutines that are left are looked for.
type tests struct{ *testing.M }

func (m tests) Run() int {
	defer shared.end()
	return m.M.Run()
}

// shared is what tests share, by what ends it.
var shared sharedThings

type sharedThings struct {
	sync.Mutex
	ends []func()
}

func (s *sharedThings) add(end func()) {
	s.Lock()
	defer s.Unlock()
	s.ends = append(s.ends, end)
}

func (s *sharedThings) end() {
	s.Lock()
	defer s.Unlock()
	for _, end := range s.ends {
		end()
	}
}

// patience bounds every wait of this package. Nothing here is asserted to be
// fast.
const patience = 2 * time.Minute

// waitFor waits until the condition holds, for as long as the gateways of the test run, and a moment longer: what one has
// done last may still be in flight.
func waitFor(t *testing.T, what string, holds func() bool) {
	t.Helper()
	const moment = 5 * time.Second
	const often, seldom = 10 * time.Millisecond, 50 * time.Millisecond // what is asked may cost more than what is waited for
	ended, began := false, time.Now()
	for end := began.Add(patience); !holds(); time.Sleep(min(max(often, time.Since(began)/20), seldom)) {
		if !ended && endedAlone(t) {
			ended, end = true, time.Now().Add(moment)
		}
		switch {
		case time.Now().Before(end):
		case ended:
			t.Fatalf("no %s: the gateway has ended", what)
		default:
			t.Fatalf("no %s within %v", what, patience)
		}
	}
}
