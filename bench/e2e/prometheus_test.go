//go:build linux

// This file has a real Prometheus scrape a gateway.

package e2e

import (
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
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

// prometheus is a server that scrapes every second.
type prometheus struct {
	t       *testing.T
	address string
}

// startPrometheus starts a Prometheus that scrapes the address, with the rules in a file, if it is not
// empty, and what else the job has.
func startPrometheus(t *testing.T, target, rules, job string) *prometheus {
	t.Helper()
	if _, err := exec.LookPath("prometheus"); err != nil {
		t.Fatal("the tests of metrics need prometheus: apt-get install prometheus")
	}
	dir := t.TempDir()
	config := "global: {scrape_interval: 1s, scrape_timeout: 1s, evaluation_interval: 1s}\n"
	if rules != "" {
		config += "rule_files: [" + rules + "]\n"
	}
	config += "scrape_configs:\n- job_name: sluice\n  static_configs: [{targets: ['" + target + "']}]\n"
	if job != "" {
		config += "- job_name: other\n  static_configs: [{targets: ['" + target + "']}]\n" + job
	}
	file := filepath.Join(dir, "prometheus.yaml")
	if err := os.WriteFile(file, []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	runPromtool(t, "check", "config", file)
	p := &prometheus{t, net.JoinHostPort("127.0.0.1", strconv.Itoa(sinktest.FreePort(t)))}
	var log lockedBuffer
	cmd := exec.Command("prometheus", "--config.file="+file, "--storage.tsdb.path="+filepath.Join(dir, "data"), "--web.listen-address="+p.address,
		"--enable-feature=extra-scrape-metrics", "--log.level=warn")
	cmd.Stdout, cmd.Stderr = &log, &log
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() { cmd.Wait(); close(ended) }()
	t.Cleanup(func() {
		cmd.Process.Kill()
		<-ended
		http.DefaultClient.CloseIdleConnections()
		if t.Failed() {
			t.Logf("log of Prometheus:\n%s", log.tail())
		}
	})
	waitFor(t, "Prometheus", func() bool {
		select {
		case <-ended:
			t.Fatal("Prometheus has ended")
		default:
		}
		resp, err := http.Get("http://" + p.address + "/-/ready")
		if err != nil {
			return false
		}
		resp.Body.Close()
		return resp.StatusCode == http.StatusOK
	})
	return p
}

// get asks its API.
func (p *prometheus) get(path string, query url.Values, data any) {
	p.t.Helper()
	resp, err := http.Get("http://" + p.address + path + "?" + query.Encode())
	if err != nil {
		p.t.Fatal(err)
	}
	defer resp.Body.Close()
	answer := struct {
		Status, Error string
		Data          any
	}{Data: data}
	if err := json.NewDecoder(resp.Body).Decode(&answer); err != nil || answer.Status != "success" {
		p.t.Fatalf("%s %v: %v, %s", path, query, err, answer.Error)
	}
}

// value returns what an expression is now; false: it has no value, or several.
func (p *prometheus) value(expr string) (float64, bool) {
	p.t.Helper()
	var data struct{ Result []struct{ Value [2]any } }
	p.get("/api/v1/query", url.Values{"query": {expr}}, &data)
	if len(data.Result) != 1 {
		return 0, false
	}
	v, err := strconv.ParseFloat(data.Result[0].Value[1].(string), 64)
	if err != nil {
		p.t.Fatal(err)
	}
	return v, true
}

// wait waits until an expression has the value.
func (p *prometheus) wait(expr string, want float64) {
	p.t.Helper()
	last := ""
	defer func() {
		if p.t.Failed() {
			p.t.Logf("the last value of %s was %s", expr, last)
		}
	}()
	waitFor(p.t, fmt.Sprintf("%s == %v", expr, want), func() bool {
		got, found := p.value(expr)
		last = fmt.Sprint(got, found)
		return found && got == want
	})
}

// A Prometheus scrapes a gateway under load, with many shards, and has what the simulated Discord has sent.
func TestPrometheus(t *testing.T) {
	const shards = scrapedShards
	srv := startSim(t, sim.Options{Shards: shards, IdentifyTotal: 10 * shards, IdentifyWindow: time.Millisecond, Guilds: 1, Rate: 2,
		HeartbeatInterval: 5 * time.Second, HeartbeatGrace: time.Minute, Seed: 1})
	redis := redistest.Start(t)
	address := sinktest.FreeAddress(t)
	startGateway(t, setup{name: buildGateway(t)}, srv, "BROKER_TYPE=redis", "REDIS_URL="+redis.Addr, "REDIS_STREAM=events", "PROMETHEUS_ADDRESS="+address)
	// The other job drops what docs/metrics.md says.
	doc, err := os.ReadFile(metricsDoc)
	if err != nil {
		t.Fatal(err)
	}
	relabel := regexp.MustCompile("(?s)```yaml\n(metric_relabel_configs:.*?)```").FindSubmatch(doc)
	if relabel == nil {
		t.Fatal("docs/metrics.md has no metric_relabel_configs")
	}
	p := startPrometheus(t, address, "", regexp.MustCompile(`(?m)^`).ReplaceAllString(strings.TrimSpace(string(relabel[1])), "  ")+"\n")

	p.wait(`sum(sluice_shard_ready{job="sluice"})`, shards)
	p.wait(`count(gateway_ping_count{job="sluice"} > 0)`, shards) // each has had a heartbeat
	discord := srv.Ledger().Summary()                             // a start on a busy machine may need more than one Identify for a shard
	for expr, want := range map[string]float64{
		`gateway_total_shards{job="sluice"}`:                shards,
		`sum(gateway_shards_alive{job="sluice"})`:           shards,
		`count(gateway_ping{job="sluice",quantile="0.99"})`: shards,
		`sluice_shards{job="sluice",state="ready"}`:         shards,
		// A session whose connection ends before its READY is read has not begun here.
		fmt.Sprintf(`sluice_sessions_begun_total{job="sluice"} >= bool %d`, shards):               1,
		fmt.Sprintf(`sluice_sessions_begun_total{job="sluice"} <= bool %d`, discord.Sessions):     1,
		`sluice_identifies_total{job="sluice"}`:                                                   float64(discord.Identifies),
		`sluice_session_starts_limit{job="sluice"}`:                                               10 * shards,
		`sluice_session_starts_left{job="sluice"}`:                                                float64(10*shards - discord.Identifies),
		`sluice_broker_up{job="sluice"}`:                                                          1,
		`sluice_gaps_total{job="sluice"}`:                                                         0,
		`sluice_events_lost_total{job="sluice"}`:                                                  0,
		`count(sluice_shard_ready{job="other"})`:                                                  shards,
		fmt.Sprintf(`sluice_heartbeat_round_trip_seconds_count{job="sluice"} >= bool %d`, shards): 1,
	} {
		p.wait(expr, want)
	}
	for _, expr := range []string{`count({__name__=~"gateway_packets_.*"})`, `count({job="other",__name__=~"gateway_ping.*|gateway_shards_alive"})`} {
		if n, found := p.value(expr); found {
			t.Errorf("%s is %v", expr, n)
		}
	}
	p.wait(`sum(rate(sluice_events_total{job="sluice"}[20s])) > bool 100`, 1) // events go on meanwhile

	silence(srv)
	// As many as the sessions have that each shard has now, for none was lost: one whose connection ended before its READY
	// was read, on a busy machine, has events of its own, that nobody can ask for.
	last := make(map[int]string)
	for _, session := range srv.Ledger().Sessions() {
		last[session.Shard] = session.ID
	}
	sent := 0
	for _, id := range last {
		sent += len(srv.Ledger().Events(id))
	}
	for _, expr := range []string{
		`sum(sluice_events_total{job="sluice"})`, `sum(sluice_shard_events_total{job="sluice"})`,
		`sluice_broker_events_published_total{job="sluice"}`, `sluice_publish_lag_seconds_count{job="sluice"}`,
	} {
		p.wait(expr, float64(sent))
	}
	if n := strings.TrimSpace(redis.CLI("XLEN", "events")); n != strconv.Itoa(sent) {
		t.Errorf("%s events in Redis, %d sent", n, sent)
	}
	value := func(expr string) float64 {
		v, found := p.value(expr)
		if !found {
			t.Errorf("%s has no value", expr)
		}
		return v
	}
	resp, err := http.Get("http://" + address + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "metrics")
	if err := os.WriteFile(file, text, 0o600); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command("sh", "-c", `promtool check metrics <"$1"`, "sh", file).CombinedOutput(); err != nil {
		t.Errorf("promtool check metrics: %v\n%s", err, out)
	}
	t.Logf("%d shards, %d events: %.0f samples, %.0f bytes, a scrape takes %.1f ms on average and %.1f ms at most; p99 of the lag is %.1f ms",
		shards, sent, value(`scrape_samples_scraped{job="sluice"}`), value(`scrape_body_size_bytes{job="sluice"}`),
		1000*value(`avg_over_time(scrape_duration_seconds{job="sluice"}[1m])`), 1000*value(`max_over_time(scrape_duration_seconds{job="sluice"}[1m])`),
		1000*value(`histogram_quantile(0.99, sluice_publish_lag_seconds_bucket{job="sluice"})`))
}
