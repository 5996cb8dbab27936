package metrics

import (
	"bytes"
	"flag"
	"os"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"sluice/engine"
	"sluice/fleet"
)

var update = flag.Bool("update", false, "write the tables in docs/metrics.md anew")

// docs/metrics.md has the tables.
func TestTable(t *testing.T) {
	const name, begin, end = "../../../docs/metrics.md", "<!-- metrics:begin -->\n", "<!-- metrics:end -->"
	content, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	text := strings.ReplaceAll(string(content), "\r\n", "\n")
	head, rest, found := strings.Cut(text, begin)
	tables, tail, ended := strings.Cut(rest, end)
	if !found || !ended {
		t.Fatalf("docs/metrics.md has no %s and %s", begin, end)
	}
	if tables == Markdown() {
		return
	}
	if !*update {
		t.Fatalf("the tables in docs/metrics.md are not those of the code; go test ./cmd/gateway/metrics -run %s -update writes them", t.Name())
	}
	if err := os.WriteFile(name, []byte(head+begin+Markdown()+end+tail), 0o644); err != nil {
		t.Fatal(err)
	}
}

// Other text of the documentation has no metric that there is not.
func TestDocumentation(t *testing.T) {
	content, err := os.ReadFile("../../../docs/metrics.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range regexp.MustCompile("`(?:sluice|gateway)_[a-z_]+[a-z]\\b").FindAllString(string(content), -1) {
		name = name[1:]
		base := regexp.MustCompile(`_(bucket|sum|count)$`).ReplaceAllString(name, "")
		if !slices.ContainsFunc(table, func(m Metric) bool { return m.Name == name || m.Name == base }) {
			t.Errorf("docs/metrics.md has %s, which is no metric", name)
		}
	}
}

var sample = regexp.MustCompile(`^([a-z_]+)(\{.*\})? (\S+)$`)

// parse splits a text into its families, and fails where one is split or has samples of another.
func parse(t *testing.T, text string) (all []family) {
	t.Helper()
	for line := range strings.Lines(text) {
		line = strings.TrimSuffix(line, "\n")
		if rest, found := strings.CutPrefix(line, "# HELP "); found {
			name, help, _ := strings.Cut(rest, " ")
			if slices.ContainsFunc(all, func(f family) bool { return f.name == name }) {
				t.Errorf("%s is there twice", name)
			}
			all = append(all, family{name: name, help: help, samples: make(map[string]string)})
			continue
		}
		f := &all[len(all)-1]
		if rest, found := strings.CutPrefix(line, "# TYPE "); found {
			if rest, found = strings.CutPrefix(rest, f.name+" "); !found || f.kind != "" {
				t.Errorf("%q follows the HELP of %s", line, f.name)
			}
			f.kind = rest
			continue
		}
		m := sample.FindStringSubmatch(line)
		if m == nil || f.kind == "" {
			t.Fatalf("line %q", line)
		}
		suffix, found := strings.CutPrefix(m[1], f.name)
		if !found || suffix != "" && (f.kind == Counter || f.kind == Gauge) {
			t.Errorf("%s is in the family of %s", m[1], f.name)
		}
		if _, twice := f.samples[suffix+m[2]]; twice {
			t.Errorf("%s%s is there twice", m[1], m[2])
		}
		f.samples[suffix+m[2]] = m[3]
	}
	return all
}

// Every metric that is written is in the table, and every one of the table is written.
func TestEveryMetric(t *testing.T) {
	src, _ := fullSource(3)
	families := parse(t, string(New(src).Append(nil)))
	at := make(map[string]family)
	for _, f := range families {
		at[f.name] = f
	}
	for _, m := range Table() {
		f, found := at[m.Name]
		delete(at, m.Name)
		if !found {
			if runtime.GOOS == "linux" && !strings.Contains(m.Name, "pressure") { // kernels without PSI
				t.Errorf("%s has no sample", m.Name)
			}
			continue
		}
		if f.kind != m.Type || f.help != m.Help || m.Help == "" || m.Look == "" || m.Unit == "" {
			t.Errorf("%v; the table has %q, %q", f, m.Type, m.Help)
		}
		want := slices.Clone(m.Labels)
		for series := range f.samples {
			var got []string
			for _, l := range regexp.MustCompile(`[{,]([a-z]+)="(?:[^"\\]|\\.)*"`).FindAllStringSubmatch(series, -1) {
				if l[1] != "le" && l[1] != "quantile" {
					got = append(got, l[1])
				}
			}
			if !slices.Equal(got, want) {
				t.Errorf("%s%s has the labels %q; the table has %q", m.Name, series, got, want)
			}
		}
		old := strings.HasPrefix(m.Name, "gateway_")
		if (m.Type == Counter) != strings.HasSuffix(m.Name, "_total") && !old {
			t.Errorf("%s is a %s", m.Name, m.Type)
		}
		for unit, suffix := range map[string]string{"seconds": "_seconds", "bytes": "_bytes"} {
			if m.Unit == unit && !strings.Contains(m.Name, suffix) {
				t.Errorf("%s is in %s", m.Name, m.Unit)
			}
		}
	}
	for name := range at {
		t.Errorf("%s is not in the table", name)
	}
}

func TestValues(t *testing.T) {
	src, e := fullSource(3)
	e.shards[1].State = engine.Backoff
	e.shards[2].RoundTripCount, e.shards[2].RoundTripSum = 0, 0
	values := make(map[string]string)
	for _, f := range parse(t, string(New(src).Append(nil))) {
		for series, v := range f.samples {
			values[f.name+series] = v
		}
	}
	for series, want := range map[string]string{
		`gateway_total_shards`:                                                   "3",
		`gateway_shards_alive{id="0"}`:                                           "1",
		`gateway_shards_alive{id="1"}`:                                           "0",
		`gateway_ping{id="0",quantile="0.5"}`:                                    "80",
		`gateway_ping{id="0",quantile="0.9"}`:                                    "150",
		`gateway_ping{id="0",quantile="0.99"}`:                                   "160",
		`gateway_ping_sum{id="0"}`:                                               "900",
		`gateway_ping_count{id="0"}`:                                             "20",
		`gateway_ping_count{id="2"}`:                                             "",
		`gateway_packets_received{t="MESSAGE_CREATE",op="0",shard="2"}`:          "10",
		`gateway_packets_sent{t="",op="1",shard="2"}`:                            "40",
		`sluice_events_total{event="MESSAGE_CREATE"}`:                            "10",
		`sluice_fleet_confirmed`:                                                 "1",
		`sluice_fleet_members{state="up"}`:                                       "2",
		`sluice_fleet_members{state="draining"}`:                                 "1",
		`sluice_fleet_members{state="deposed"}`:                                  "1",
		`sluice_fleet_owned_shards`:                                              "7",
		`sluice_fleet_unowned_shards`:                                            "5",
		`sluice_fleet_starting_shards`:                                           "4",
		`sluice_fleet_pending_moves`:                                             "3",
		`sluice_fleet_moves_total{direction="given"}`:                            "10",
		`sluice_fleet_moves_total{direction="taken"}`:                            "11",
		`sluice_fleet_deaths_total`:                                              "8",
		`sluice_fleet_takeovers_total`:                                           "9",
		`sluice_shards{state="ready"}`:                                           "2",
		`sluice_shards{state="backoff"}`:                                         "1",
		`sluice_shards{state="identify queued"}`:                                 "0",
		`sluice_shard_ready{shard="1"}`:                                          "0",
		`sluice_connections_ended_total{cause="closed by Discord",code="4000"}`:  "3",
		`sluice_connections_ended_total{cause="closed by Discord",code="other"}`: "2",
		`sluice_publish_lag_seconds_bucket{le="0.001"}`:                          "3",
		`sluice_publish_lag_seconds_bucket{le="0.25"}`:                           "5",
		`sluice_publish_lag_seconds_bucket{le="+Inf"}`:                           "6",
		`sluice_publish_lag_seconds_count`:                                       "6",
		`sluice_publish_lag_seconds_sum`:                                         "7.5",
		`sluice_publish_oldest_seconds`:                                          "0.25",
		`sluice_dead_letters_total{reason="a \"reason\""}`:                       "1",
		`sluice_commands_refused_total{reason="too large"}`:                      "2",
		`sluice_spool_up`:                                                        "0",
		`sluice_spool_damaged_segments_total`:                                    "2",
		`sluice_commands_refused_total{reason="not JSON"}`:                       "1",
		`sluice_broker_unavailable_seconds_total`:                                "90",
		`sluice_spool_limit_bytes`:                                               "10737418240",
		`sluice_session_starts_left`:                                             "990",
		`sluice_build_info{version="v1.2.3",revision="0123abc",goversion="` + runtime.Version() + `",broker="redis"}`: "1",
	} {
		if values[series] != want {
			t.Errorf("%s is %q, want %q", series, values[series], want)
		}
	}
	if v := values["sluice_reader_busy_seconds"]; !strings.HasPrefix(v, "60.") {
		t.Errorf("the reader is busy for %s", v)
	}
	if v := values["sluice_checkpoint_age_seconds"]; !strings.HasPrefix(v, "60.") {
		t.Errorf("the checkpoint is %s s old", v)
	}
	if v := values["sluice_session_starts_reset_seconds"]; !strings.HasPrefix(v, "3599.") {
		t.Errorf("%s s to the reset", v)
	}
}

// What there is not is left out, with its HELP and TYPE.
func TestNilParts(t *testing.T) {
	text := string(New(Source{}).Append(nil))
	for _, f := range parse(t, text) {
		if !strings.HasPrefix(f.name, "go_") && !strings.HasPrefix(f.name, "process_") && f.name != "sluice_build_info" {
			t.Errorf("%v without a source", f)
		}
	}
	src, e := fullSource(1)
	e.status = engine.Status{}
	src.Sink, src.Spool, src.Store, src.Refused = nil, nil, nil, nil
	for _, f := range parse(t, string(New(src).Append(nil))) {
		if strings.HasPrefix(f.name, "sluice_broker") || strings.HasPrefix(f.name, "sluice_session_starts_left") {
			t.Errorf("%v without a source", f)
		}
	}
}

func TestPacketsMode(t *testing.T) {
	for _, c := range []struct {
		mode   string
		shards int
		want   bool
	}{
		{"", MaxPacketShards, true}, {PacketsAuto, MaxPacketShards, true}, {PacketsAuto, MaxPacketShards + 1, false},
		{PacketsOn, MaxPacketShards + 1, true}, {PacketsOff, 1, false},
	} {
		src, _ := fullSource(c.shards)
		src.PacketsMode = c.mode
		if got := strings.Contains(string(New(src).Append(nil)), "gateway_packets_received{"); got != c.want {
			t.Errorf("prometheus.packets %q with %d shards: %v", c.mode, c.shards, got)
		}
	}
}

// A scrape leaves no garbage for each shard, and what it costs is printed.
func TestCost(t *testing.T) {
	allocs := func(shards int) float64 {
		src, _ := fullSource(shards)
		h := New(src)
		x := exchange{text: h.Append(nil)}
		spent := time.Hour
		for range 5 {
			began := time.Now()
			x.text = h.Append(x.text[:0])
			spent = min(spent, time.Since(began))
		}
		var compressed bytes.Buffer
		x.compress(&compressed)
		t.Logf("%d shards: %d lines, %d bytes, %d compressed, written in %v at best", shards, bytes.Count(x.text, []byte("\n")), len(x.text), compressed.Len(), spent.Round(100*time.Microsecond))
		return testing.AllocsPerRun(10, func() { x.text = h.Append(x.text[:0]) })
	}
	few := allocs(MaxPacketShards + 1)
	allocs(1000)
	if many := allocs(10000); many > few+50 {
		t.Errorf("%v allocations with %d shards, %v with 10,000", few, MaxPacketShards+1, many)
	}
}

// What the library collects is kept for a few seconds, and not for longer.
func TestLibraryAge(t *testing.T) {
	var l lines
	mallocs := func(at time.Time) string {
		l.collect(at)
		for line := range strings.Lines(l.String()) {
			if strings.HasPrefix(line, "go_memstats_mallocs_total ") {
				return line
			}
		}
		t.Fatal("not collected")
		return ""
	}
	now := time.Now()
	first := mallocs(now)
	if again := mallocs(now.Add(libraryAge - 1)); again != first {
		t.Errorf("%s and soon after %s", first, again)
	}
	if later := mallocs(now.Add(libraryAge)); later == first {
		t.Errorf("%s for ever", first)
	}
}

// The shard count that is to be is that of the fleet, where the engine has no part in it yet, or the engine's.
func TestReshardShards(t *testing.T) {
	for want, set := range map[string]func(*engine.Status, *fleet.Snapshot){
		"0": func(e *engine.Status, f *fleet.Snapshot) { e.Reshard.To, f.Reshard.To = 4, 4 }, // the last one
		"6": func(e *engine.Status, f *fleet.Snapshot) { e.Reshard.Stage, e.Reshard.To = engine.ReshardCompares, 6 },
		"8": func(e *engine.Status, f *fleet.Snapshot) { f.Reshard.Stage, f.Reshard.To = fleet.ReshardPending, 8 },
	} {
		src, e := fullSource(1)
		var f fleet.Snapshot
		set(&e.status, &f)
		src.Fleet = func() fleet.Snapshot { return f }
		if got := "\n" + string(New(src).Append(nil)); !strings.Contains(got, "\nsluice_reshard_shards "+want+"\n") {
			t.Errorf("it is not %s", want)
		}
	}
}
