//go:build foreign

// This file runs twilight and serenity against the simulated Discord, where Rust is.

package e2e

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"sluice/bench/sim"
	"sluice/sinks/sinktest"
)

// TestForeignTwilight: over rustls, whose rules for certificates are the strictest.
func TestForeignTwilight(t *testing.T) {
	for _, compression := range []string{"zstd-stream", "zlib-stream", "none"} {
		t.Run(compression, func(t *testing.T) {
			var features []string
			if compression != "none" {
				features = []string{"--features", compression[:len("zstd")]}
			}
			foreignProgram{command: []string{buildRust(t, "twilight", features...)}, host: sim.RoleResume}.run(t, compression)
		})
	}
}

// TestForeignTwilightQueue: its shards identify in the turns that a gateway gives, whose own have the same ids.
func TestForeignTwilightQueue(t *testing.T) {
	const shards = 2 // as many as the program has
	file := buildRust(t, "twilight")
	srv := startSim(t, sim.Options{Shards: shards, MaxConcurrency: 1, TLS: true})
	queue := sinktest.FreeAddress(t)
	startGateway(t, setup{name: buildGateway(t)}, srv, "IDENTIFY_ADDRESS="+queue)
	waitFor(t, "the service", func() bool { code, _ := asked(queue, "/"); return code == 400 })
	cmd := exec.CommandContext(t.Context(), file, srv.APIURL(), srv.GatewayURL(), "sim-token", "none")
	ca := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(ca, srv.CertPEM(), 0o600); err != nil {
		t.Fatal(err)
	}
	var stderr lockedBuffer
	cmd.Env, cmd.Stderr = append(os.Environ(), "SSL_CERT_FILE="+ca, "FOREIGN_QUEUE="+queue), &stderr
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	waitFor(t, "sessions", func() bool { return srv.Ledger().Summary().Sessions >= 2*shards })
	stdin.Close()
	if err := cmd.Wait(); err != nil || stderr.String() != "" {
		t.Errorf("twilight: %v\n%s", err, stderr.tail())
	}
	if n := srv.Ledger().Summary(); n.Identifies != 2*shards || n.BucketRefused > 0 {
		t.Errorf("%v", n)
	}
}

// TestForeignSerenity: its only compression is that of single messages, and it can't
// be told whom to trust. It resumes at the main gateway.
func TestForeignSerenity(t *testing.T) {
	foreignProgram{command: []string{buildRust(t, "serenity")}, host: sim.RoleGateway, plain: true}.run(t, "zlib-payload")
}

// buildRust builds the program in a folder and returns its file. What the programs
// have in common is built once, and kept for the next time: in CARGO_TARGET_DIR, or
// in a folder of the user.
func buildRust(t *testing.T, folder string, args ...string) string {
	t.Helper()
	if _, err := exec.LookPath("cargo"); err != nil {
		t.Skipf("%s needs cargo, which is not here", folder)
	}
	target := os.Getenv("CARGO_TARGET_DIR")
	if target == "" {
		cache, err := os.UserCacheDir()
		if err != nil {
			t.Fatal(err)
		}
		target = filepath.Join(cache, "sluice", "foreign")
	}
	cmd := exec.CommandContext(t.Context(), "cargo", append([]string{"build", "--quiet", "--locked"}, args...)...)
	cmd.Dir = folder
	cmd.Env = append(os.Environ(), "CARGO_TARGET_DIR="+target)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("cargo build of %s: %v\n%s", folder, err, out)
	}
	// The next build has the same name.
	file := filepath.Join(t.TempDir(), folder)
	b, err := os.ReadFile(filepath.Join(target, "debug", "foreign-"+folder))
	if err == nil {
		err = os.WriteFile(file, b, 0o700)
	}
	if err != nil {
		t.Fatal(err)
	}
	return file
}
