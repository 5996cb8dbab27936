// This file runs clients that are programs of their own, in other languages,
// against the simulated Discord.

package e2e

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"

	"sluice/bench/sim"
)

// foreignProgram is a client as a program. It is told the addresses of the API and
// the gateway, the token and the compression as arguments. It writes an object
// with shard, seq and type for each event as a line, logs warnings and errors to
// standard error, and ends with its standard input.
type foreignProgram struct {
	command []string
	dir     string
	env     []string
	plain   bool     // it can't be told whom to trust: http and ws
	host    string   // where it resumes
	anew    []string // the faults after which it identifies
}

// parseFault matches the logs of a client that did not understand something.
var parseFault = regexp.MustCompile(`(?i)pars(e|ing)|decod|deseriali|unmarshal|malformed|traceback|panicked|unknown (op|event)|unexpected (op|event|token|end)`)

// run runs the program through everything.
func (p foreignProgram) run(t *testing.T, compression string) {
	t.Helper()
	srv, _ := foreignServer(t, !p.plain)
	cmd := exec.CommandContext(t.Context(), p.command[0], append(p.command[1:], srv.APIURL(), srv.GatewayURL(), foreignToken, compression)...)
	cmd.Dir = p.dir
	cmd.Env = append(os.Environ(), p.env...)
	if pem := srv.CertPEM(); pem != nil {
		ca := filepath.Join(t.TempDir(), "ca.pem")
		if err := os.WriteFile(ca, pem, 0o600); err != nil {
			t.Fatal(err)
		}
		cmd.Env = append(cmd.Env, "SSL_CERT_FILE="+ca, "NODE_EXTRA_CA_CERTS="+ca, "FOREIGN_CA="+ca)
	}
	var stderr lockedBuffer
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
		unread = log.read(bufio.NewScanner(stdout))
		if unread != nil {
			cmd.Process.Kill() // or it waits for somebody to read
		}
	}()
	stop := sync.OnceFunc(func() {
		stdin.Close()
		<-read
		if err := errors.Join(unread, cmd.Wait()); err != nil || t.Failed() {
			t.Errorf("%s: %v\n%s", p.command, err, stderr.tail())
		}
	})
	t.Cleanup(stop) // when the test fails half way
	foreignSurvives(t, srv, &log, p.host, p.anew...)
	stop()
	foreignCompression(t, srv, compression)
	for line := range strings.Lines(stderr.String()) {
		if parseFault.MatchString(line) {
			t.Errorf("it did not understand everything:\n%s", stderr.tail())
			return
		}
	}
}

// read adds the events that a program writes.
func (l *foreignLog) read(lines *bufio.Scanner) error {
	for lines.Scan() {
		var e struct {
			Shard int
			Seq   int64
			Type  string
		}
		if err := json.Unmarshal(lines.Bytes(), &e); err != nil || e.Shard < 0 || e.Shard >= foreignShards || e.Type == "" {
			return fmt.Errorf("line %q: %v", lines.Text(), err)
		}
		l.add(e.Shard, sim.Event{Seq: e.Seq, Type: e.Type})
	}
	return lines.Err()
}
