// This file runs @discordjs/ws against the simulated Discord, where node is. At
// this version it has no zstd, and hands events on out of order when they are
// compressed one by one: it inflates several at a time.

package e2e

import (
	"testing"

	"sluice/bench/sim"
)

func TestForeignDiscordJS(t *testing.T) {
	t.Parallel()
	dir := installNode(t, "discordjs", "bot.mjs")
	for _, compression := range []string{"zlib-stream", "none"} {
		t.Run(compression, func(t *testing.T) {
			t.Parallel()
			foreignProgram{
				command: []string{"node", "bot.mjs"}, dir: dir, env: []string{"NODE_NO_WARNINGS=1"}, host: sim.RoleResume,
			}.run(t, compression)
		})
	}
}
