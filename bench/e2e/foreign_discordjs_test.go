// This file runs @discordjs/ws against the simulated Discord, where node is. At
// this version it has no zstd, and hands events on out of order when they are
// compressed one by one: it inflates several at a time.

package e2e

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"sync"
	"testing"

	"sluice/bench/sim"
)

func TestForeignDiscordJS(t *testing.T) {
	dir := installNode(t, "discordjs", "bot.mjs")
	for _, compression := range []string{"zlib-stream", "none"} {
		t.Run(compression, func(t *testing.T) {
			t.Parallel()
			testDiscordJS(t, dir, compression)
		})
	}
}

// testDiscordJS runs the bot in dir, which writes the shard, seq and type of
// each event as a line and ends with its standard input.
func testDiscordJS(t *testing.T, dir, compression string) {
	srv, _ := foreignServer(t)
	ca := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(ca, srv.CertPEM(), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), "node", "bot.mjs", srv.APIURL(), foreignToken, compression)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "NODE_EXTRA_CA_CERTS="+ca, "NODE_NO_WARNINGS=1")
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var log foreignLog
	var unread error // a line that is not understood; read ends with it
	read := make(chan struct{})
	go func() {
		defer close(read)
		lines := bufio.NewScanner(stdout)
		for unread == nil && lines.Scan() {
			var shard int
			var e sim.Event
			if _, err := fmt.Sscan(lines.Text(), &shard, &e.Seq, &e.Type); err != nil || shard < 0 || shard >= foreignShards {
				unread = fmt.Errorf("line %q: %w", lines.Text(), err)
				return
			}
			log.add(shard, e)
		}
		unread = lines.Err()
	}()
	stop := sync.OnceFunc(func() {
		stdin.Close()
		<-read
		if err := errors.Join(unread, cmd.Wait()); err != nil || stderr.Len() > 0 {
			t.Errorf("node: %v\n%s", err, &stderr)
		}
	})
	t.Cleanup(stop) // when the test fails half way, it has been killed by then
	foreignSurvives(t, srv, &log, sim.RoleResume)
	stop()
	foreignCompression(t, srv, compression)
}

// npmFault matches the errors of npm for which the folder itself is to blame:
// a lock that does not fit, or a package that is not what the lock says.
var npmFault = regexp.MustCompile(`(?m)^npm (error|ERR!) code (EUSAGE|EINTEGRITY|EJSONPARSE)$`)

// installNode returns a folder with the programs of another, and what they need from
// npm.
func installNode(t *testing.T, folder string, programs ...string) string {
	t.Helper()
	for _, name := range []string{"node", "npm"} {
		if _, err := exec.LookPath(name); err != nil {
			t.Skipf("%s needs %s, which is not here", folder, name)
		}
	}
	dir := t.TempDir()
	for _, name := range append([]string{"package.json", "package-lock.json"}, programs...) {
		b, err := os.ReadFile(filepath.Join(folder, name))
		if err == nil {
			err = os.WriteFile(filepath.Join(dir, name), b, 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	cmd := exec.CommandContext(t.Context(), "npm", "ci", "--no-audit", "--no-fund", "--ignore-scripts", "--engine-strict", "--prefer-offline")
	cmd.Dir = dir
	out, err := cmd.CombinedOutput()
	if exit := (*exec.ExitError)(nil); err != nil && (!errors.As(err, &exit) || npmFault.Match(out)) {
		t.Fatalf("npm: %v\n%s", err, out)
	}
	if err != nil {
		t.Skipf("what %s needs cannot be had from npm here: %v\n%s", folder, err, out)
	}
	return dir
}
