//go:build foreign

// This file runs discord.py and hikari against the simulated Discord, where Python
// is, both with orjson.

package e2e

import (
	"path/filepath"
	"testing"

	"sluice/bench/sim"
)

func TestForeignDiscordPy(t *testing.T) { testPython(t, "discordpy") }

func TestForeignHikari(t *testing.T) { testPython(t, "hikari") }

// testPython runs the bot in a folder. Neither of the two can do without
// compression, and neither has that of single messages.
func testPython(t *testing.T, folder string) {
	dir := t.TempDir()
	install(t, "python3", "-m", "pip", "install", "-q", "--only-binary", ":all:", "--target", dir, "-r", filepath.Join(folder, "requirements.txt"))
	for _, compression := range []string{"zstd-stream", "zlib-stream"} {
		t.Run(compression, func(t *testing.T) {
			t.Parallel()
			foreignProgram{
				command: []string{"python3", "bot.py"}, dir: folder, env: []string{"PYTHONPATH=" + dir, "PYTHONDONTWRITEBYTECODE=1"}, host: sim.RoleResume,
			}.run(t, compression)
		})
	}
}
