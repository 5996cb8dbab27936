//go:build linux

// This file has a real Prometheus fire the alerts, by faults of Redis, of the simulated Discord and of the process.

package e2e

import (
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"sluice/bench/sim"
	"sluice/sinks/sinktest"
	"sluice/sinks/sinktest/redistest"
)

// minutes matches the durations of a rule: how long its condition has to hold, and what it looks back at.
var minutes = regexp.MustCompile(`(for: |\[)([0-9]+)m\b`)

// quickAlerts writes the alerts with a second for each minute and returns the name of the file.
func quickAlerts(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile(alertsFile)
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "alerts.yaml")
	if err := os.WriteFile(file, minutes.ReplaceAll(text, []byte("${1}${2}s")), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

// firing returns which alerts fire.
func (p *prometheus) firing() map[string]bool {
	p.t.Helper()
	var data struct {
		Alerts []struct {
			Labels map[string]string
			State  string
		}
	}
	p.get("/api/v1/alerts", url.Values{}, &data)
	names := make(map[string]bool)
	for _, a := range data.Alerts {
		if a.State == "firing" {
			names[a.Labels["alertname"]] = true
		}
	}
	return names
}

// fault is what makes alerts fire.
type fault struct {
	what   string
	begin  func()
	again  func() // what keeps it up, asked again and again; nil: nothing has to
	end    func() // nil: it is over by itself
	alerts []string
}

// fire has each fault make its alerts fire, which do not before, and its end resolve them.
func (p *prometheus) fire(faults []fault) {
	t := p.t
	t.Helper()
	p.silent("silence before the faults")
	for _, f := range faults {
		for _, name := range f.alerts { // a fault before may have an alert fire, too, for seconds
			waitFor(t, "silence of "+name+" before: "+f.what, func() bool { return !p.firing()[name] })
		}
		f.begin()
		for _, name := range f.alerts {
			waitFor(t, name+": "+f.what, func() bool {
				if f.again != nil {
					f.again()
				}
				return p.firing()[name]
			})
		}
		if f.end != nil {
			f.end()
		}
	}
	for _, f := range faults {
		for _, name := range f.alerts {
			waitFor(t, "end of "+name, func() bool { return !p.firing()[name] })
		}
	}
	p.silent("end of all alerts")
}

// silent waits until no alert fires, or is about to, for three evaluations of the rules in a row: while the target is not
// scraped, alerts that should resolve have nothing to fire by.
func (p *prometheus) silent(what string) {
	p.t.Helper()
	var last string
	var found []string
	evaluations := 0
	defer func() {
		if p.t.Failed() {
			p.t.Logf("alerts are %v", found)
		}
	}()
	waitFor(p.t, what, func() bool {
		var data struct {
			Groups []struct {
				LastEvaluation string
				Rules          []struct{ Name, State string }
			}
		}
		p.get("/api/v1/rules", url.Values{}, &data)
		if len(data.Groups) != 1 || data.Groups[0].LastEvaluation == last {
			return false
		}
		found, last = nil, data.Groups[0].LastEvaluation
		for _, r := range data.Groups[0].Rules {
			if r.State != "inactive" {
				found = append(found, r.Name+" "+r.State)
			}
		}
		if evaluations++; len(found) > 0 {
			evaluations = 0
		}
		return evaluations == 3
	})
}

// Faults make the alerts fire that are about them, and their ends resolve them.
func TestAlertsFire(t *testing.T) {
	t.Parallel()
	const shards = 16
	srv := startSim(t, sim.Options{Shards: shards, IdentifyWindow: time.Millisecond, Rate: 5, Seed: 1})
	redis := redistest.Start(t, "--appendonly", "yes")
	address := sinktest.FreeAddress(t)
	gateway := startGateway(t, setup{name: buildGateway(t)}, srv, "BROKER_TYPE=redis", "REDIS_URL="+redis.Addr,
		"SHARD_STORE_TYPE=redis", "SPOOL_DIRECTORY=spool", "SPOOL_SIZE=64MiB", "PROMETHEUS_ADDRESS="+address)
	p := startPrometheus(t, address, quickAlerts(t), "")
	p.wait(`sum(sluice_shard_ready)`, shards)

	signal := func(s os.Signal) {
		if err := gateway.cmd.Process.Signal(s); err != nil {
			t.Error(err)
		}
	}
	pid := strconv.Itoa(gateway.cmd.Process.Pid)
	maxFiles := func(n string) {
		if out, err := exec.Command("prlimit", "--pid", pid, "--nofile="+n+":").CombinedOutput(); err != nil {
			t.Errorf("prlimit: %v\n%s", err, out)
		}
	}
	var limit syscall.Rlimit // the program has that of the test
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		t.Fatal(err)
	}
	discord := func(mode sim.GateMode) {
		srv.SetGateway(mode)
		srv.SetResumeHost(mode)
	}
	large := []byte(`"` + strings.Repeat("a", 6<<20) + `"`)
	p.fire([]fault{
		{what: "a stream's key has something else", alerts: []string{"SluiceDeadLetters"},
			begin: func() { redis.CLI("SET", "OTHER", "text"); srv.Dispatch(0, "OTHER", []byte(`{}`)) }},
		{what: "a session has ended", alerts: []string{"SluiceGap"},
			begin: func() {
				discord(sim.GateRefuse)
				srv.Cut(1, false)
				waitFor(t, "the end of a session", func() bool { return srv.Expire(1) > 0 })
				discord(sim.GateOpen)
			}},
		{what: "Discord refuses connections", alerts: []string{"SluiceShardNotReady"},
			begin: func() { discord(sim.GateRefuse); srv.Cut(2, true) }, end: func() { discord(sim.GateOpen) }},
		{what: "Redis is away", alerts: []string{"SluiceBrokerUnavailable", "SluiceStoreUnavailable", "SluiceSpoolFilling"},
			begin: func() {
				redis.Kill()
				for range 7 {
					srv.Dispatch(3, "LARGE", large)
				}
			}, end: redis.Restart},
		{what: "Redis is slow", alerts: []string{"SluicePublishLag"},
			begin: func() {}, again: func() { redis.CLI("CLIENT", "PAUSE", "2000", "WRITE"); time.Sleep(2100 * time.Millisecond) }},
		{what: "it may open hardly any file more", alerts: []string{"SluiceFewFilesLeft"},
			begin: func() {
				files, err := os.ReadDir("/proc/" + pid + "/fd")
				if err != nil {
					t.Error(err)
				}
				maxFiles(strconv.Itoa(len(files) + 2))
			}, end: func() { maxFiles(strconv.FormatUint(limit.Cur, 10)) }},
		{what: "it is stopped", alerts: []string{"SluiceDown"},
			begin: func() { signal(syscall.SIGSTOP) }, end: func() { signal(syscall.SIGCONT) }},
	})
	silence(srv)
	gateway.terminate()
	gateway.exit(0)
}
