// This file runs @discordjs/ws against the simulated Discord, where node is. At
// this version it has no zstd, and inflates several messages at a time: it hands events on
// out of order when they are compressed one by one, and with zlib-stream it ends at an
// error of JSON.parse when two messages come in one turn of its event loop, as they do on a
// machine that is busy. So zlib-stream is for make test-foreign alone.

package e2e

import (
	"testing"

	"sluice/bench/sim"
)

func TestForeignDiscordJS(t *testing.T) {
	t.Parallel()
	dir := installNode(t, "discordjs", "bot.mjs")
	compressions := []string{"none"}
	if foreignAll {
		compressions = append(compressions, "zlib-stream")
	}
	for _, compression := range compressions {
		t.Run(compression, func(t *testing.T) {
			t.Parallel()
			foreignProgram{
				command: []string{"node", "bot.mjs"}, dir: dir, env: []string{"NODE_NO_WARNINGS=1"}, host: sim.RoleResume,
			}.run(t, compression)
		})
	}
}
