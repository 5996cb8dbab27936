// This file keeps the process small: within its container's memory, and without
// what only the start needed.

package cli

import (
	"context"
	"log/slog"
	"runtime/debug"
	"time"

	"github.com/KimMachineGun/automemlimit/memlimit"

	"sluice/engine"
)

// limitMemory has the garbage collector work harder before the process reaches
// nine tenths of what its control group may use, instead of being killed there.
// GOMEMLIMIT in the environment goes before it.
func limitMemory(log *slog.Logger) {
	limit, err := memlimit.Set()
	if err != nil {
		log.Debug("the memory limit of the control group is not known", "error", err)
		return
	}
	log.Debug("memory limit of the garbage collector", "bytes", limit)
}

// settlePeriod is how often trimMemory looks whether the start is over.
const settlePeriod = 5 * time.Second

// trimMemory returns to the system what the start took and nobody needs any more,
// handshakes and first guilds, once all shards have been ready for a while. The
// runtime would do it by itself, minutes later. It returns after that, or when ctx
// is done.
func trimMemory(ctx context.Context, e *engine.Engine) {
	tick := time.NewTicker(settlePeriod)
	defer tick.Stop()
	settled := false
	for {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
		before := settled
		s := e.Status()
		if settled = s.Running > 0 && s.Ready == s.Running; settled && before {
			debug.FreeOSMemory()
			return
		}
	}
}
