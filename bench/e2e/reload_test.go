//go:build linux

// This file tests what SIGHUP does: a service reads its settings again, and a process whose terminal goes
// away ends.

package e2e

import (
	"context"
	"os"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"sluice/bench/sim"
	"sluice/sinks/sinktest"
	"sluice/sinks/sinktest/redistest"
	"sluice/wire"
)

// handleHangup has SIGHUP not ignored, which a gateway would inherit: the tests may be run by nohup.
func handleHangup(t *testing.T) {
	c := make(chan os.Signal, 1)
	signal.Notify(c, syscall.SIGHUP)
	t.Cleanup(func() { signal.Stop(c) })
}

// hangUp sends SIGHUP.
func (p *program) hangUp() {
	p.t.Helper()
	if err := p.cmd.Process.Signal(syscall.SIGHUP); err != nil {
		p.t.Fatal(err)
	}
}

// The terminal goes away: what is received is written, and the sessions are kept.
func TestHangup(t *testing.T) {
	handleHangup(t)
	master, err := os.OpenFile("/dev/ptmx", os.O_RDWR|syscall.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer master.Close()
	n, err := unix.IoctlGetInt(int(master.Fd()), unix.TIOCGPTN)
	if err == nil {
		err = unix.IoctlSetPointerInt(int(master.Fd()), unix.TIOCSPTLCK, 0)
	}
	if err != nil {
		t.Fatal(err)
	}
	terminal, err := os.OpenFile("/dev/pts/"+strconv.Itoa(n), os.O_RDWR|syscall.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	srv := startSim(t, sim.Options{TLS: true})
	inTerminal := setup{name: buildGateway(t), sys: &syscall.SysProcAttr{Setsid: true, Setctty: true, Ctty: 3}, files: []*os.File{terminal}}
	p := startGateway(t, inTerminal, srv)
	terminal.Close()
	waitFor(t, "the shard", func() bool { return srv.Connected() == 1 })
	master.Close() // the kernel sends SIGHUP
	waitFor(t, "the end of the connection", func() bool { return srv.Connected() == 0 })
	p.cmd.Process.Signal(syscall.SIGHUP)         // and a shell another one, perhaps too late
	p.read(func(int, line) bool { return true }) // or the drain would wait
	p.exit(0)
	if log := p.stderr.String(); !strings.Contains(log, "msg=stopped received=") {
		t.Errorf("logged %s", log)
	}
	keepsSessions(t, srv)
}

// Every setting that can be reloaded changes while events flow to a real Redis, and is broken in between:
// each event arrives once, in order. The server gets other certificates meanwhile.
func TestReload(t *testing.T) {
	t.Parallel()
	handleHangup(t)
	const shards = 4
	certificates, others := sinktest.NewCertificates(t), sinktest.NewCertificates(t)
	port := strconv.Itoa(sinktest.FreePort(t))
	redis := redistest.Start(t, "--tls-port", port, "--tls-cert-file", certificates.Server, "--tls-key-file", certificates.ServerKey,
		"--tls-ca-cert-file", certificates.Authority, "--tls-auth-clients", "yes")
	own := t.TempDir() // the gateway's copies, which change as certificates are renewed
	install := func(c sinktest.Certificates) {
		for name, from := range map[string]string{"ca.pem": c.Authority, "cert.pem": c.Client, "key.pem": c.ClientKey} {
			text, err := os.ReadFile(from)
			if err == nil {
				err = os.WriteFile(filepath.Join(own, name), text, 0o600)
			}
			if err != nil {
				t.Fatal(err)
			}
		}
	}
	install(certificates)
	srv := startSim(t, sim.Options{TLS: true, Shards: shards, IdentifyWindow: time.Millisecond, Rate: 500, ReplayLimit: 1 << 20, Seed: 1})
	address := sinktest.FreeAddress(t)
	authority := filepath.Join(own, "sim.pem")
	if err := os.WriteFile(authority, srv.CertPEM(), 0o600); err != nil {
		t.Fatal(err)
	}
	service := setup{name: buildGateway(t), sys: &syscall.SysProcAttr{Setsid: true}}
	p := startGateway(t, service, srv, "BROKER_TYPE=redis", "REDIS_URL=rediss://127.0.0.1:"+port, "BROKER_ENCODING=json", "REDIS_STREAM=events",
		"REDIS_FIELDS=event,shard,session,seq", "HTTP_ADDRESS="+address, "DISCORD_API_CA_FILE="+authority, "REDIS_CA_FILE="+filepath.Join(own, "ca.pem"),
		"REDIS_CERT_FILE="+filepath.Join(own, "cert.pem"), "REDIS_KEY_FILE="+filepath.Join(own, "key.pem"))
	flows := func() {
		t.Helper()
		count := func() int {
			n, _ := strconv.Atoi(strings.TrimSpace(redis.CLI("XLEN", "events")))
			return n
		}
		before := count()
		waitFor(t, "events", func() bool { return count() > before+500 })
	}
	flows()
	reload := func(file, says string) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(p.cmd.Dir, "gateway.toml"), []byte(file), 0o600); err != nil {
			t.Fatal(err)
		}
		before := len(p.stderr.String())
		p.hangUp()
		waitFor(t, says, func() bool { return strings.Contains(p.stderr.String()[before:], says) })
		flows()
	}
	var names []string
	for _, name := range wire.EventNames() {
		names = append(names, strconv.Quote(name))
	}
	file := "events = [" + strings.Join(names, ", ") + "]\n[log]\nlevel = \"debug\"\n[presence]\nstatus = \"dnd\"\n"
	reload(file, "setting=events")
	for shard := range shards {
		waitFor(t, "a presence of each shard", func() bool {
			for _, c := range srv.Ledger().Commands() {
				if c.Shard == shard && c.Op == wire.OpPresenceUpdate && strings.Contains(string(c.Raw), `"dnd"`) {
					return true
				}
			}
			return false
		})
	}
	srv.Cut(0, false)
	waitFor(t, "the log of a state", func() bool { return strings.Contains(p.stderr.String(), "level=DEBUG") })
	file += "[broker]\nmessage_timeout = \"3m\"\ndead_letters = \"others.jsonl\"\ndead_letters_size = \"2MiB\"\n"
	reload(file, `msg=reloaded changed=3 need_restart=0`)
	admits := func(token string) bool {
		code, _, err := answered(asker(nil), "POST", "http://"+address+"/shards/9999/resume", token)
		return err == nil && code == 409 // there is no such shard
	}
	tokenFile := filepath.Join(own, "token")
	setToken := func(token, file, says string) {
		t.Helper()
		if err := os.WriteFile(tokenFile, []byte(token+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		reload(file, says)
	}
	const one, two, three = "one-0123456789abcdef", "two-0123456789abcdef", "three-0123456789abcdef"
	reload(file+"[http]\ntoken = \""+one+"\"\n", "setting=http.token")
	if !admits(one) || admits(two) {
		t.Error("http.token is not that of the settings")
	}
	file += "[http]\ntoken_file = \"" + tokenFile + "\"\n"
	setToken(two, file, "setting=http.token_file")
	if !admits(two) || admits(one) {
		t.Error("http.token is not that of http.token_file")
	}
	setToken(three, file, "msg=reloaded changed=1 need_restart=0")
	if !admits(three) || admits(two) {
		t.Error("http.token is not what http.token_file has now")
	}
	reload("[broker", "reload: nothing is changed")
	reload("large_threshold = 1\n"+strings.Replace(file, "debug", "error", 1), "large_threshold")
	reload(file, "msg=reloaded changed=0 need_restart=0") // nothing of those

	redis.CLI("CONFIG", "SET", "tls-cert-file", others.Server, "tls-key-file", others.ServerKey, "tls-ca-cert-file", others.Authority)
	redis.CLI("CLIENT", "KILL", "TYPE", "normal")
	waitFor(t, "the refusal of the new certificate", func() bool { // the log may have another error, and the next in a minute
		_, body, _ := answered(asker(nil), "GET", "http://"+address+"/readyz", "")
		return strings.Contains(body, "unknown authority")
	})
	install(others)
	reload(file, "setting=redis.cert_file")
	text, err := os.ReadFile(others.Authority)
	if err == nil {
		err = os.WriteFile(authority, append(srv.CertPEM(), text...), 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	reload(file, "setting=api.ca_file")
	connects := srv.Ledger().Summary().Connects
	srv.Cut(1, false)
	waitFor(t, "a connection by the new certificates", func() bool { return srv.Ledger().Summary().Connects > connects && srv.Connected() == shards })
	flows()
	if !admits(three) {
		t.Error("http.token is another after settings that were broken")
	}
	reload("[shards]\ncount = 64\n", "reload: the setting needs a restart; it is left unchanged\" setting=shards.count")

	want := silence(srv)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	r := srv.Ledger().Check(streamReader(ctx, t, redis.Addr, want, nil))
	if r.Received != want || r.Lost+r.Repeated+r.OutOfOrder+r.Unknown+r.Abandoned+r.Pending > 0 {
		t.Errorf("%v", r)
	}
	if s := srv.Ledger().Summary(); s.Identifies != shards || s.Sessions != shards {
		t.Errorf("%v", s)
	}
	t.Logf("%v", r)
	if strings.Contains(p.stderr.String(), "0123456789abcdef") {
		t.Error("a token is logged")
	}
	p.terminate()
	p.exit(0)
}
