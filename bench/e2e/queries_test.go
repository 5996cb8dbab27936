//go:build linux

// This file asks a real Prometheus what docs/metrics.md and the dashboard have an operator ask.

package e2e

import (
	"encoding/json"
	"math"
	"net/url"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"sluice/bench/sim"
	"sluice/sinks/sinktest"
	"sluice/sinks/sinktest/redistest"
)

// sample is a series of an answer.
type sample struct {
	labels map[string]string
	value  float64
}

// ask returns the series that an expression has now.
func (p *prometheus) ask(expr string) (all []sample) {
	p.t.Helper()
	var data struct {
		Result []struct {
			Metric map[string]string
			Value  [2]any
		}
	}
	p.get("/api/v1/query", url.Values{"query": {expr}}, &data)
	for _, r := range data.Result {
		v, err := strconv.ParseFloat(r.Value[1].(string), 64)
		if err != nil {
			p.t.Fatal(err)
		}
		all = append(all, sample{r.Metric, v})
	}
	return all
}

// total is what the series have together; NaN: there is none.
func total(all []sample) float64 {
	if len(all) == 0 {
		return math.NaN()
	}
	sum := 0.0
	for _, s := range all {
		sum += s.value
	}
	return sum
}

// nightQueries returns the queries of the table in docs/metrics.md, "At night".
func nightQueries(t *testing.T) (all []string) {
	t.Helper()
	doc, err := os.ReadFile(metricsDoc)
	if err != nil {
		t.Fatal(err)
	}
	_, section, _ := strings.Cut(string(doc), "\n## At night\n")
	section, _, _ = strings.Cut(section, "\n## ")
	for line := range strings.Lines(section) {
		cells := strings.Split(line, " | ")
		if len(cells) != 4 || !strings.Contains(cells[0], "?") {
			continue
		}
		for _, query := range regexp.MustCompile("`([^`]+)`").FindAllStringSubmatch(cells[1], -1) {
			all = append(all, query[1])
		}
	}
	return all
}

// panelQueries returns those of the dashboard, with what Grafana fills in, by the titles of the panels and the names of the annotations.
func panelQueries(t *testing.T) map[string][]string {
	t.Helper()
	text, err := os.ReadFile(dashboardFile)
	if err != nil {
		t.Fatal(err)
	}
	var d struct {
		Panels      []panel
		Annotations struct{ List []struct{ Name, Expr string } }
	}
	if err := json.Unmarshal(text, &d); err != nil {
		t.Fatal(err)
	}
	variables := strings.NewReplacer("$__rate_interval", "1m", "$__range", "1h", "$instance", ".*")
	all := make(map[string][]string)
	for _, p := range d.Panels {
		for _, target := range p.Targets {
			all[p.Title] = append(all[p.Title], variables.Replace(target.Expr))
		}
	}
	for _, a := range d.Annotations.List {
		if a.Expr != "" { // it marks what is rare: there has to be something that can change
			all[a.Name] = append(all[a.Name], strings.Replace(variables.Replace(a.Expr), "> 0", ">= 0", 1))
		}
	}
	return all
}

// Each query of an operator has data that say what is so: an event is refused for good, a session has ended, a command was
// sent, and shard 2 cannot connect.
func TestQueries(t *testing.T) {
	t.Parallel()
	const shards = 8
	srv := startSim(t, sim.Options{Shards: shards, IdentifyWindow: time.Millisecond, Rate: 20, HeartbeatInterval: 2 * time.Second,
		HeartbeatGrace: time.Minute, Seed: 1})
	redis := redistest.Start(t)
	address := sinktest.FreeAddress(t)
	startGateway(t, setup{name: buildGateway(t)}, srv, "BROKER_TYPE=redis", "REDIS_URL="+redis.Addr, "SPOOL_DIRECTORY=spool",
		"SPOOL_SIZE=64MiB", "PROMETHEUS_ADDRESS="+address)
	p := startPrometheus(t, address, "", "")
	p.wait(`sum(sluice_shard_ready)`, shards)
	p.wait(`sum(sluice_dead_letters_total)`, 0)

	redis.CLI("SET", "OTHER", "text")
	srv.Dispatch(0, "OTHER", []byte(`{}`))
	redis.CLI("XADD", "0", "*", "data", `{"op":3,"d":{"since":null,"activities":[],"status":"dnd","afk":false}}`)
	discord := func(mode sim.GateMode) {
		srv.SetGateway(mode)
		srv.SetResumeHost(mode)
	}
	discord(sim.GateRefuse)
	srv.Cut(1, false)
	waitFor(t, "the end of a session", func() bool { return srv.Expire(1) > 0 })
	discord(sim.GateOpen)
	p.wait(`sluice_gaps_total`, 1)
	p.wait(`sum(sluice_shard_ready)`, shards)
	discord(sim.GateRefuse)
	waitFor(t, "a close", func() bool { return srv.CloseShard(2, 4000, "") > 0 })
	p.wait(`sum(sluice_shard_ready)`, shards-1)

	about := func(n float64) func([]sample) bool { // increase guesses what was before the first sample
		return func(all []sample) bool { v := total(all); return v >= 0.9*n && v <= 1.6*n }
	}
	exactly := func(n float64) func([]sample) bool { return func(all []sample) bool { return total(all) == n } }
	atMost := func(n float64) func([]sample) bool {
		return func(all []sample) bool { v := total(all); return v >= 0 && v <= n }
	}
	hasShard := func(all []sample) bool { return len(all) == 1 && all[0].labels["shard"] == "2" }
	ended := func(all []sample) bool {
		return slices.ContainsFunc(all, func(s sample) bool { return s.labels["code"] == "4000" && s.value >= 0.9 && s.value < 2 }) &&
			slices.ContainsFunc(all, func(s sample) bool { return s.labels["cause"] == "connect failed" })
	}
	left := func(all []sample) bool { return total(all) == float64(1000-srv.Ledger().Summary().Identifies) }
	night := map[string]func([]sample) bool{
		"increase(sluice_events_lost_total[1h])":            exactly(0),
		"increase(sluice_gaps_total[1h])":                   about(1),
		"increase(sluice_dead_letters_total[1h])":           about(1),
		"increase(sluice_broker_events_undone_total[1h])":   exactly(0),
		"increase(sluice_spool_damaged_segments_total[1h])": exactly(0),
		"sluice_publish_oldest_seconds":                     atMost(60),
		"sluice_spool_oldest_seconds":                       atMost(60),
		"sluice_broker_up":                                  exactly(1),
		"sluice_shards_paused":                              exactly(0),
		"deriv(sluice_spool_bytes[5m])":                     func(all []sample) bool { return math.Abs(total(all)) < 1<<20 },
		"sluice_shard_ready == 0":                           hasShard,
		"sluice_shards > 0":                                 exactly(shards),
		"increase(sluice_connections_ended_total[1h]) > 0":  ended,
		"sluice_session_starts_left":                        left,
		"sluice_session_starts_reset_seconds":               func(all []sample) bool { v := total(all); return v > 0 && v <= 24*3600 },
		"histogram_quantile(0.99, sum by (instance, le) (rate(sluice_publish_lag_seconds_bucket[5m])))": func(all []sample) bool {
			v := total(all)
			return v > 0 && v <= 60
		},
	}
	asked := nightQueries(t)
	for _, query := range asked {
		plausible := night[query]
		if plausible == nil {
			t.Errorf("docs/metrics.md asks %s; what is plausible?", query)
			continue
		}
		p.answers("At night", query, plausible)
	}
	for query := range night {
		if !slices.Contains(asked, query) {
			t.Errorf("docs/metrics.md does not ask %s", query)
		}
	}

	panels := map[string]func([]sample) bool{
		"Gaps": about(1), "Dead-lettered": about(1), "Sessions lost": about(1), "Events lost": exactly(0), "Shards by state": exactly(shards),
		"Shards that are not ready": hasShard, "Connections that ended": ended, "Broker": exactly(1), "Dead letters": about(1),
	}
	for title, queries := range panelQueries(t) {
		for _, query := range queries {
			p.answers("panel "+title, query, func(all []sample) bool {
				for _, s := range all {
					if math.IsNaN(s.value) || math.IsInf(s.value, 0) || s.value < 0 {
						return false
					}
				}
				return len(all) > 0 && (panels[title] == nil || panels[title](all))
			})
		}
		delete(panels, title)
	}
	if len(panels) > 0 {
		t.Errorf("the dashboard lacks %v", panels)
	}
	silence(srv)
}

// answers waits until the query has an answer that is plausible.
func (p *prometheus) answers(where, query string, plausible func([]sample) bool) {
	p.t.Helper()
	var last []sample
	defer func() {
		if p.t.Failed() {
			p.t.Logf("%s: %s has %v", where, query, last)
		}
	}()
	waitFor(p.t, where+": "+query, func() bool { last = p.ask(query); return plausible(last) })
}
