//go:build foreign

// This file runs JDA against the simulated Discord, where Java and Maven are.

package e2e

import (
	"path/filepath"
	"testing"

	"sluice/bench/sim"
)

func TestForeignJDA(t *testing.T) {
	dir := t.TempDir()
	install(t, "java", "--version") // which runs a source file by itself
	install(t, "mvn", "-q", "-B", "-f", filepath.Join("jda", "pom.xml"), "dependency:copy-dependencies", "-DoutputDirectory="+dir)
	for _, compression := range []string{"zlib-stream", "none"} {
		t.Run(compression, func(t *testing.T) {
			foreignProgram{
				command: []string{"java", "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn", "-cp", filepath.Join(dir, "*"), filepath.Join("jda", "Bot.java")},
				host:    sim.RoleResume,
			}.run(t, compression)
		})
	}
}
