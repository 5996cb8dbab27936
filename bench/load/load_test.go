// This file tests what is made of the figures, and a short run of everything.

package load

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"os/signal"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"sluice/bench/reexec"
	"sluice/bench/report"
	"sluice/bench/sim"
)

// TestMain lets the test's own binary be the gateway, and the simulator of gateway-bench.
func TestMain(m *testing.M) {
	reexec.Main(map[string]func() int{"gateway": reexec.Gateway, "simulator": func() int {
		ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
		defer stop()
		if err := ServeSim(ctx, os.Stdin, os.Stdout); err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		return 0
	}})
	os.Exit(m.Run())
}

func TestParseLine(t *testing.T) {
	for _, tt := range []struct {
		text  string
		shard int
		seq   int64
		ok    bool
	}{
		{`{"event":"MESSAGE_CREATE","shard":3,"seq":17,"data":{"seq":9}}`, 3, 17, true},
		{`{"event":"READY","shard":1023,"seq":1}`, 1023, 1, true},
		{`{"peer":"x","compression":"none"}`, 0, 0, false},
		{`{"event":"READY`, 0, 0, false},
		{`{"event":"READY","seq":1}`, 0, 0, false},
		{`{"event":"READY","shard":1}`, 0, 0, false},
		{``, 0, 0, false},
	} {
		if shard, seq, ok := parseLine([]byte(tt.text)); shard != tt.shard && ok || seq != tt.seq || ok != tt.ok {
			t.Errorf("%s: %d, %d, %v", tt.text, shard, seq, ok)
		}
	}
}

func TestDistribution(t *testing.T) {
	var took []float64
	for i := range 1000 {
		took = append(took, float64((i*617)%1000)/1000) // 0 to 0.999, in no order
	}
	l := distribution(took)
	if l.Count != 1000 || l.P50 != 0.5 || l.P90 != 0.9 || l.P99 != 0.99 || l.P999 != 0.999 || l.Max != 0.999 {
		t.Errorf("%+v", l)
	}
	for i, p := range l.Curve[1:] {
		if p[0] < l.Curve[i][0] || p[1] <= l.Curve[i][1] {
			t.Errorf("the curve falls at %v", p)
		}
	}
	if last := l.Curve[len(l.Curve)-1]; last != [2]float64{0.999, 1} {
		t.Errorf("the curve ends at %v", last)
	}
	if l := distribution(nil); l.Count != 0 || l.Curve != nil {
		t.Errorf("of nothing: %+v", l)
	}
}

func TestSlope(t *testing.T) {
	var l line
	if l.slope() != 0 {
		t.Error("nothing has a slope")
	}
	for i := range 100 {
		l.add(float64(i), 3*float64(i)+float64(i%2))
	}
	if s := l.slope(); math.Abs(s-3) > 0.01 {
		t.Errorf("slope %v, want 3", s)
	}
}

// beats is a ledger for lateness.
type beats struct {
	identified []sim.Identify
	resumed    []sim.Resume
	heard      []sim.Heartbeat
	closed     []sim.Close
}

func (b beats) Identifies() []sim.Identify  { return b.identified }
func (b beats) Resumes() []sim.Resume       { return b.resumed }
func (b beats) Heartbeats() []sim.Heartbeat { return b.heard }
func (b beats) Closes() []sim.Close         { return b.closed }

func TestLateness(t *testing.T) {
	at := func(s float64) time.Time { return time.Unix(1e9, 0).Add(time.Duration(s * float64(time.Second))) }
	steady := func(conn int64, from, to, every float64) (beats []sim.Heartbeat) {
		for s := from; s <= to; s += every {
			beats = append(beats, sim.Heartbeat{Conn: conn, Time: at(s)})
		}
		return beats
	}
	gap := []sim.Heartbeat{{Conn: 1, Time: at(0)}, {Conn: 2, Time: at(3)}, {Conn: 1, Time: at(7)}, {Conn: 2, Time: at(8.5)}, {Conn: 1, Time: at(12.25)}}
	for _, tt := range []struct {
		name  string
		log   beats
		since float64
		now   float64
		want  time.Duration
	}{
		{"between two", beats{heard: gap}, 0, 13, 2 * time.Second},
		{"since", beats{heard: gap}, 8, 13, 500 * time.Millisecond},
		{"in time", beats{heard: steady(1, 0, 20, 5)}, 0, 23, 0},
		{"overdue", beats{heard: steady(1, 0, 20, 5)}, 0, 27, 2 * time.Second},
		{"the first", beats{identified: []sim.Identify{{Conn: 1, Time: at(0)}}, heard: steady(1, 8, 8, 5)}, 0, 9, 3 * time.Second},
		{"none ever", beats{identified: []sim.Identify{{Conn: 1, Time: at(0)}}}, 0, 11, 6 * time.Second},
		{"none after a resume", beats{resumed: []sim.Resume{{Conn: 2, Time: at(1)}}}, 0, 10, 4 * time.Second},
		{"before the Identify", beats{identified: []sim.Identify{{Conn: 1, Time: at(4)}}, heard: steady(1, 2, 7, 5)}, 0, 8, 0},
		{"closed in time", beats{heard: steady(1, 0, 10, 5), closed: []sim.Close{{Conn: 1, Time: at(14)}}}, 0, 100, 0},
		{"closed for it", beats{heard: steady(1, 0, 10, 5), closed: []sim.Close{{Conn: 1, Time: at(24)}}}, 0, 100, 9 * time.Second},
		{"long ago", beats{heard: steady(1, 0, 10, 5), closed: []sim.Close{{Conn: 1, Time: at(24)}}}, 30, 100, 0},
	} {
		if got := lateness(tt.log, 5*time.Second, at(tt.since), at(tt.now)); got != tt.want {
			t.Errorf("%s: %v, want %v", tt.name, got, tt.want)
		}
	}
}

func TestLag(t *testing.T) {
	at := func(s float64) time.Time { return time.Unix(1e9, 0).Add(time.Duration(s * float64(time.Second))) }
	var l lagLog
	if l.since(at(0)) != 0 {
		t.Error("late without a look")
	}
	for _, look := range []struct {
		at   float64
		late time.Duration
	}{{0, 1}, {0.5, 9}, {0.6, 2}, {1.2, 5}, {1.9, 4}, {3, 3}} {
		l.add(at(look.at), look.late)
	}
	for since, want := range map[float64]time.Duration{0: 9, 0.9: 9, 1.1: 5, 2.5: 3, 10: 0} {
		if got := l.since(at(since)); got != want {
			t.Errorf("since %v: %d, want %d", since, got, want)
		}
	}
	// What is not read for a while is late.
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var live lagLog
	if err := live.watch(ctx); err != nil {
		t.Fatal(err)
	}
	for began := time.Now(); live.since(began) == 0; {
		time.Sleep(lagPeriod)
	}
}

func TestScenarios(t *testing.T) {
	seen := map[string]bool{}
	for _, s := range scenarios {
		if s.name == "" || !strings.HasSuffix(s.about, ".") || s.shards == 0 || len(s.compressions) == 0 || seen[s.name] {
			t.Errorf("scenario %+v", s)
		}
		seen[s.name] = true
	}
	all, left, err := (&Options{}).choose()
	if named := []string{"even-64-tls", "soak"}; err != nil || len(all)+len(left) != len(scenarios)-len(named) {
		t.Errorf("%d scenarios by default, %q left out, of %d, %v: %q are not among them", len(all), left, len(scenarios), err, named)
	}
	if quick, _, _ := (&Options{Quick: true}).choose(); len(quick) == 0 || len(quick) >= len(all) {
		t.Errorf("%d scenarios in a quick run", len(quick))
	}
	if _, _, err := (&Options{Scenarios: []string{"flood-1", "nope"}}).choose(); err == nil || !strings.Contains(err.Error(), `"nope"`) || !strings.Contains(err.Error(), "flood-16") {
		t.Errorf("an unknown scenario: %v", err)
	}
}

// What the README shows is beside other programs, the strongest among them.
func TestReadmeHasPeers(t *testing.T) {
	text, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	shown := regexp.MustCompile(`make load LOAD='([^']+)'`).FindSubmatch(text)
	if shown == nil {
		t.Fatal("the README does not say how its figures are measured")
	}
	twilight := Subject{Name: "twilight"}
	for _, name := range strings.Fields(string(shown[1])) {
		o := Options{Scenarios: []string{name}, Peers: []Subject{twilight}}
		chosen, _, err := o.choose()
		if err != nil {
			t.Fatal(err)
		}
		if subjects := o.subjects(chosen[0]); subjects[len(subjects)-1].Name != twilight.Name || subjects[len(subjects)-1].Compression != subjects[0].Compression {
			t.Errorf("%s: %+v", name, subjects)
		}
	}
}

// Events at a rate come at random moments, unless a scenario is about what that changes.
func TestRandomMoments(t *testing.T) {
	for _, sc := range scenarios {
		m := measurement{o: &Options{}, sc: sc}
		c := m.config()
		if o, want := c.options(), sc.rate > 0 && sc.name != "even-64-tls"; o.Poisson != want || o.Rate != sc.rate {
			t.Errorf("%s: a rate of %v, at random moments %v, want %v", sc.name, o.Rate, o.Poisson, want)
		}
	}
}

// Scenarios whose server is not installed are left out, unless they are named.
func TestMissingServer(t *testing.T) {
	t.Setenv("PATH", "")
	all, left, err := (&Options{}).choose()
	if err != nil || len(all) == 0 || len(left) < 2 || !strings.HasPrefix(left[0], "redis-flood is left out: ") || !strings.Contains(left[0], "apt-get install redis-server") {
		t.Errorf("%d scenarios, left out %q, %v", len(all), left, err)
	}
	if err := (Options{Scenarios: []string{"redis-flood"}}).Check(); err == nil || runtime.GOOS == "linux" && !strings.Contains(err.Error(), "apt-get install redis-server") {
		t.Errorf("named: %v", err)
	}
}

// Stopping a subject ends what it started, which holds the output's other end.
func TestStopChildren(t *testing.T) {
	if runtime.GOOS != "linux" {
		return // no run is possible here: TestRun
	}
	p, err := start(Subject{Command: []string{"sh", "-c", "sleep 1000; true"}}, SimState{}, 1, "")
	if err != nil {
		t.Fatal(err)
	}
	if !p.running() {
		t.Error("it ended by itself")
	}
	if err := p.stop(); err == nil {
		t.Error("a process that was killed by a signal ended well")
	}
	if p.running() {
		t.Error("it goes on")
	}
}

func TestCheck(t *testing.T) {
	if runtime.GOOS != "linux" {
		return // it refuses all: TestRun
	}
	for _, tt := range []struct {
		o    Options
		want string
	}{
		{Options{}, ""},
		{Options{Repeat: 1, Window: time.Second, Warmup: time.Second, Guilds: 9}, ""},
		{Options{Repeat: -1}, "-1 times"},
		{Options{Window: -time.Second}, "-1s"},
		{Options{Window: time.Millisecond}, "1ms"},
		{Options{Warmup: -time.Second}, "-1s"},
		{Options{Guilds: 5000}, "5000 MiB"},
		{Options{Scenarios: []string{"nope"}}, "nope"},
	} {
		if err := tt.o.Check(); (err == nil) != (tt.want == "") || err != nil && !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%+v: %v", tt.o, err)
		}
	}
}

// Runs from end to end, with a peer that is no use.
//
// The gateway itself stands in for spec-tacles/gateway, whose settings it takes.
func TestRun(t *testing.T) {
	if runtime.GOOS != "linux" {
		if err := (Options{}).Check(); err == nil {
			t.Error("a run is possible here")
		}
		return
	}
	i := slices.IndexFunc(scenarios, func(s scenario) bool { return s.name == "reconnect" })
	all := scenarios[i].shards
	scenarios[i].shards = 50 // of 1,000
	t.Cleanup(func() { scenarios[i].shards = all })
	for _, name := range []string{"rate-64", "flood-1", "reconnect", "observed"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			testRun(t, name)
		})
	}
}

func testRun(t *testing.T, scenario string) {
	gateway := reexec.Link(t, "gateway")
	spectacles := Spectacles(gateway)
	spectacles.Env = append(spectacles.Env, "SHARD_STORE_DIRECTORY="+t.TempDir())
	var progress bytes.Buffer
	o := Options{
		Simulator: []string{reexec.Link(t, "simulator")}, Gateway: gateway, Version: "test",
		Scenarios: []string{scenario}, Peers: []Subject{{Name: "useless", Command: []string{"sh", "-c", "echo no use >&2"}}, spectacles},
		Quick: true, Progress: &progress,
	}
	r, err := Run(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	if len(r.Scenarios) != 1 || !strings.Contains(progress.String(), scenario) {
		t.Fatalf("%d scenarios\n%s", len(r.Scenarios), &progress)
	}
	sc := r.Scenarios[0]
	for _, s := range sc.Subjects {
		run := s.Runs[0]
		if s.Name == spectacles.Name {
			if run.Failure != "" || run.Events == 0 || run.Latency.Count != 0 || s.Compression != zstd {
				t.Errorf("%s, %s: %+v", s.Name, s.Compression, run)
			}
			continue
		}
		if !s.Gateway {
			if !strings.Contains(run.Failure, "no use") {
				t.Errorf("%s: failure %q", s.Name, run.Failure)
			}
			continue
		}
		if run.Failure != "" || run.Events == 0 || run.User+run.System == 0 || run.RSS == 0 || run.Allocs < 0 || run.Goroutines < 1 || run.Seconds == 0 || len(run.Samples) == 0 {
			t.Errorf("%s: %+v", s.Name, run)
		}
		if scenario == "rate-64" && (run.Latency.Count == 0 || run.Latency.P50 <= 0) {
			t.Errorf("%s: %+v", s.Name, run.Latency)
		}
	}
	if scenario == "observed" {
		if len(sc.Subjects) != 2 {
			t.Fatalf("%d subjects, want the gateway unobserved and observed", len(sc.Subjects))
		}
		alone, observed := sc.Subjects[0].Runs[0].Figures, sc.Subjects[1].Runs[0].Figures
		for _, name := range append([]string{"percent_more_cpu"}, observerFigures[:]...) {
			if _, ok := alone[name]; ok {
				t.Errorf("%s of the gateway that is not observed", name)
			}
			if _, ok := observed[name]; !ok {
				t.Errorf("no %s: %v", name, observed)
			}
		}
	}
	if scenario == "rate-64" && (sc.Rate != 20_000 || sc.Shards != 64) {
		t.Errorf("%+v", sc)
	}
	var page bytes.Buffer
	if err := errors.Join(r.WriteJSON(&page), r.WriteTable(&page), r.WriteHTML(&page)); err != nil {
		t.Error(err)
	}
	if r.Machine.Cores == 0 || r.Machine.Kernel == "" || r.Version != report.Version {
		t.Errorf("%+v", r.Machine)
	}
}
