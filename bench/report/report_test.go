// This file tests what is shown of Reports, by files of testdata and by what must
// never be in any output.

package report

import (
	"bytes"
	"encoding/xml"
	"errors"
	"flag"
	"io"
	"math"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"strings"
	"testing"
	"unicode/utf8"
)

var update = flag.Bool("update", false, "write the files of testdata anew")

// golden compares got to a file of testdata.
func golden(t *testing.T, name string, got []byte) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(path, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, bytes.ReplaceAll(want, []byte("\r\n"), []byte("\n"))) {
		t.Errorf("%s differs; see the change with go test -update and git diff. Got:\n%s", path, got)
	}
}

// noNumber finds what a figure that is none would look like.
var noNumber = regexp.MustCompile(`\bNaN\b|[+-]?\bInf\b|%!`)

// texts writes r in every form that text is allowed in.
func texts(t *testing.T, r *Report) (table, page, comparison string) {
	t.Helper()
	var a, b, c bytes.Buffer
	if err := r.WriteTable(&a); err != nil {
		t.Fatal(err)
	}
	if err := r.WriteHTML(&b); err != nil {
		t.Fatal(err)
	}
	if err := Compare(&c, r, r); err != nil {
		t.Fatal(err)
	}
	return a.String(), b.String(), c.String()
}

// check looks for what no output may have.
func check(t *testing.T, r *Report) {
	t.Helper()
	table, page, comparison := texts(t, r)
	for name, text := range map[string]string{"table": table, "comparison": comparison} {
		if found := noNumber.FindString(text); found != "" {
			t.Errorf("%s has %q:\n%s", name, found, text)
		}
		for line := range strings.Lines(text) {
			if n := utf8.RuneCountInString(strings.TrimSuffix(line, "\n")); n > width {
				t.Errorf("%s has a line of %d columns: %q", name, n, line)
			}
		}
		for _, r := range text {
			if r < ' ' && r != '\n' || r == 0x7f || r == 0x9b {
				t.Fatalf("%s has the control character %q", name, r)
			}
		}
	}
	if found := noNumber.FindString(page); found != "" {
		t.Errorf("page has %q", found)
	}
	checkPage(t, page)
}

// checkPage reads a page as XML and looks for what would make it run a script or
// load anything.
func checkPage(t *testing.T, page string) {
	t.Helper()
	d := xml.NewDecoder(strings.NewReader(page))
	depth := 0
	for {
		token, err := d.Token()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatalf("page: not well-formed: %v", err)
		}
		switch token := token.(type) {
		case xml.StartElement:
			depth++
			switch token.Name.Local {
			case "script", "link", "img", "iframe", "object", "embed":
				t.Errorf("page has the element %s", token.Name.Local)
			}
			for _, a := range token.Attr {
				name := a.Name.Local
				if strings.HasPrefix(name, "on") || name == "src" || name == "href" && !strings.HasPrefix(a.Value, "#") {
					t.Errorf("page has the attribute %s=%q", name, a.Value)
				}
			}
		case xml.EndElement:
			depth--
		}
	}
	if depth != 0 {
		t.Errorf("page: %d elements are not closed", depth)
	}
}

func TestSample(t *testing.T) {
	r := sample(1, 1)
	check(t, r)
	table, page, _ := texts(t, r)
	golden(t, "table.txt", []byte(table))
	// Every scenario has what there is to draw of it.
	for _, title := range []string{"CPU per event", "Memory (RSS)", "Latency, p99", "Latency", "CPU over time", "Memory (RSS) over time", "bytes per shard"} {
		if !strings.Contains(page, "<h3>"+title+"</h3>") {
			t.Errorf("the page has no plot %q", title)
		}
	}
	if strings.Count(page, "<section ") != len(r.Scenarios) {
		t.Errorf("the page has %d sections for %d scenarios", strings.Count(page, "<section "), len(r.Scenarios))
	}
	if !strings.Contains(page, "14 events lost on shard 381") {
		t.Error("the page does not tell of the failure")
	}
}

func TestCompare(t *testing.T) {
	before, after := sample(1, 1), sample(2, 1.4)
	// Three scenarios are enough to read; one is new, one gone, one has another load.
	before.Scenarios = []Scenario{before.Scenarios[0], before.Scenarios[3], before.Scenarios[5], before.Scenarios[7]}
	after.Scenarios = []Scenario{after.Scenarios[0], after.Scenarios[3], after.Scenarios[5], after.Scenarios[9]}
	after.Scenarios[2].Shards = 2000
	after.Scenarios[0].Subjects[2].Name = "disgo 0.20.0"
	after.Scenarios[0].Subjects[4].Runs = after.Scenarios[0].Subjects[4].Runs[:2]
	after.Version = 2
	after.Quick = true
	after.Machine.Cores = 4
	after.Machine.CPU = "AMD EPYC 9B14"
	after.Machine.Kernel = "6.12.0"
	after.Machine.Go = "go1.26.9"
	var b bytes.Buffer
	if err := Compare(&b, before, after); err != nil {
		t.Fatal(err)
	}
	golden(t, "compare.txt", b.Bytes())
}

// A difference counts only when the spreads of the runs do not overlap: noise is called noise.
func TestJudge(t *testing.T) {
	of := func(values ...float64) spread {
		runs := make([]Run, len(values))
		for i, v := range values {
			runs[i].Seconds = v
		}
		return spreadOf(runs, func(r *Run) float64 { return r.Seconds })
	}
	for _, test := range []struct {
		name   string
		p, q   spread
		better int
		want   string
		real   bool
	}{
		{"same", of(1, 1, 1), of(1, 1, 1), -1, "noise", false},
		{"overlap", of(1, 2, 3), of(2.9, 4, 5), -1, "noise", false},
		{"touching", of(1, 2, 3), of(3, 4, 5), -1, "noise", false},
		{"apart and more", of(1, 2, 3), of(3.1, 4, 5), -1, "worse", true},
		{"apart and less", of(3.1, 4, 5), of(1, 2, 3), -1, "better", true},
		{"apart, more is better", of(1, 2, 3), of(3.1, 4, 5), 1, "better", true},
		{"apart, less is worse", of(3.1, 4, 5), of(1, 2, 3), 1, "worse", true},
		{"apart, no side taken", of(1, 2, 3), of(4, 5, 6), 0, "higher", true},
		{"apart, no side taken, less", of(4, 5, 6), of(1, 2, 3), 0, "lower", true},
		{"apart by 3 %", of(100, 100, 100), of(103, 103, 103), -1, "noise", false},
		{"apart by more than 3 %", of(100, 100, 100), of(103.1, 103.1, 103.1), -1, "worse", true},
		{"from nothing", of(0, 0, 0), of(1, 1, 1), -1, "worse", true},
		{"nothing stays nothing", of(0, 0, 0), of(0, 0, 0), -1, "noise", false},
		{"two runs", of(1, 1), of(5, 5, 5), -1, "too few runs to say", false},
		{"one run", of(1, 1, 1), of(5), -1, "too few runs to say", false},
		{"none before", of(), of(5, 5, 5), -1, "not known before", false},
		{"none after", of(5, 5, 5), of(math.NaN()), -1, "not known after", false},
	} {
		if got, real := judge(test.p, test.q, test.better); got != test.want || real != test.real {
			t.Errorf("%s: %q, %v; want %q, %v", test.name, got, real, test.want, test.real)
		}
	}
}

func TestSpread(t *testing.T) {
	run := func(v float64, failure string) Run { return Run{Seconds: v, Failure: failure} }
	for _, test := range []struct {
		name string
		runs []Run
		want spread
	}{
		{"one", []Run{run(3, "")}, spread{1, 3, 3, 3}},
		{"odd", []Run{run(3, ""), run(1, ""), run(9, "")}, spread{3, 1, 3, 9}},
		{"even", []Run{run(3, ""), run(1, ""), run(9, ""), run(4, "")}, spread{4, 1, 3.5, 9}},
		{"failed ones are left out", []Run{run(3, ""), run(1, "cut"), run(9, "")}, spread{2, 3, 6, 9}},
		{"unknown ones are left out", []Run{run(3, ""), run(math.NaN(), ""), run(math.Inf(1), "")}, spread{1, 3, 3, 3}},
	} {
		if got := spreadOf(test.runs, func(r *Run) float64 { return r.Seconds }); got != test.want {
			t.Errorf("%s: %+v, want %+v", test.name, got, test.want)
		}
	}
	if got := spreadOf([]Run{run(3, "cut")}, func(r *Run) float64 { return r.Seconds }); got.n != 0 || !math.IsNaN(got.mid) {
		t.Errorf("of failed runs alone: %+v", got)
	}
}

// odd are Reports that a harness should not make, or makes when all goes wrong.
var odd = map[string]*Report{
	"zero":        {},
	"no subjects": {Version: Version, Scenarios: []Scenario{{Name: "flood"}}},
	"no runs":     {Scenarios: []Scenario{{Name: "flood", Subjects: []Subject{{Name: "gateway", Gateway: true}}}}},
	"all failed": {Scenarios: []Scenario{{Name: "flood", Subjects: []Subject{
		{Name: "gateway", Gateway: true, Runs: []Run{{Failure: "no events"}, {Failure: "it ended: exit status 2"}}},
		{Name: "discordgo", Runs: []Run{{Seconds: 1, Events: 10, User: 1, RSS: 1}}},
	}}}},
	"no gateway": {Scenarios: []Scenario{{Subjects: []Subject{{Name: "discordgo", Runs: []Run{{Seconds: 1, Events: 10, User: 1}}}}}}},
	"zero runs":  {Scenarios: []Scenario{{Subjects: []Subject{{Gateway: true, Runs: make([]Run, 3)}}}}},
	"not numbers": {Seconds: math.Inf(1), Machine: Machine{Load: math.NaN()}, Scenarios: []Scenario{{Rate: math.NaN(), Subjects: []Subject{{Gateway: true, Runs: []Run{{
		Seconds: math.NaN(), Events: 5, User: math.Inf(1), System: math.Inf(-1), RSS: math.MinInt64,
		Latency: Latency{Count: 1, P50: math.NaN(), P99: math.Inf(1), Max: math.Inf(-1), Curve: [][2]float64{{math.NaN(), 0.5}, {1, math.NaN()}, {math.Inf(1), 1}}},
		Figures: map[string]float64{"bytes": math.NaN(), "late": math.Inf(1)},
		Samples: []Sample{{At: math.NaN()}, {At: math.Inf(1), CPU: math.Inf(-1)}},
	}}}}}}},
	"out of all bounds": {Seconds: -1e308, Scenarios: []Scenario{{Shards: math.MinInt, Rate: 1e308, Subjects: []Subject{{Gateway: true, Runs: []Run{
		{Seconds: 5e-324, Events: math.MaxInt64, User: 1e308, System: 1e308, RSS: math.MaxInt64, Allocs: math.MaxInt64,
			Latency: Latency{Count: 1, P50: 1e308, P99: 1e14, Curve: [][2]float64{{-1, -1}, {0, 2}, {1e300, 7}, {5e-324, 0.3}}},
			Figures: map[string]float64{"": -5, "bytes": 1e-300, "x": 1e15, "late": -1e-9},
			Samples: []Sample{{At: -1e15, CPU: 1e308, RSS: math.MinInt64}, {At: 1e15, CPU: 1e15, RSS: math.MaxInt64}, {At: 1e15}}},
		{Seconds: 1e15, Events: 1, User: 5e-324, Samples: []Sample{{At: 1e15}, {At: 1e15}}},
	}}}}}},
	"hostile names": {Gateway: "</title><script>alert(1)</script>", Machine: Machine{CPU: "\x1b]0;x\x07\x9b2J", Kernel: "a\nb\x00", Go: "\xff\xfe"}, Scenarios: []Scenario{{
		Name: `"><img src=x onerror=alert(1)>`, About: "]]></style><!-- &amp; \x00", Subjects: []Subject{
			{Name: "<script>", Gateway: true, Compression: "'\"<b>", Runs: []Run{{Failure: "<script>alert(2)</script>\r\n\x1b[2J"}, {
				Seconds: 1, Events: 10, User: 1, RSS: 1 << 20, Latency: Latency{Count: 1, P50: 1, P90: 2, P99: 3, P999: 4, Max: 5},
				Figures: map[string]float64{"</text><script>": 1, strings.Repeat("long_", 60): 2},
				Samples: []Sample{{0, 1, 1}, {1, 1, 1}}}}},
			{Name: strings.Repeat("wide ", 100), Compression: strings.Repeat("w", 500), Runs: []Run{{Failure: strings.Repeat("w", 500)}, {Failure: strings.Repeat("very ", 100)}}},
		}}}},
}

func TestOdd(t *testing.T) {
	for name, r := range odd {
		t.Run(name, func(t *testing.T) { check(t, r) })
	}
}

func TestOddText(t *testing.T) {
	for name, wants := range map[string][]string{
		"zero":        {"No scenario was run."},
		"no subjects": {"No subject was measured."},
		"all failed":  {"run 1 failed: no events", "run 2 failed: it ended: exit status 2", "0 of 2"},
	} {
		table, page, _ := texts(t, odd[name])
		for _, want := range wants {
			if !strings.Contains(table, want) {
				t.Errorf("%s: no %q in the table:\n%s", name, want, table)
			}
			if !strings.Contains(page, want) {
				t.Errorf("%s: no %q in the page", name, want)
			}
		}
	}
	// Names are shown, not obeyed.
	if _, page, _ := texts(t, odd["hostile names"]); !strings.Contains(page, "&lt;script&gt;") || strings.Contains(page, "<script") {
		t.Error("the page does not escape")
	}
}

func TestJSON(t *testing.T) {
	want := sample(1, 1)
	want.Version = 0 // WriteJSON knows it
	var b bytes.Buffer
	if err := want.WriteJSON(&b); err != nil {
		t.Fatal(err)
	}
	got, err := Read(&b)
	if err != nil {
		t.Fatal(err)
	}
	want.Version = Version
	if !reflect.DeepEqual(got, want) {
		t.Error("what was read is not what was written")
	}
	if err := odd["not numbers"].WriteJSON(&b); err == nil || b.Len() != 0 {
		t.Errorf("what is not a number: error %v and %d bytes", err, b.Len())
	}
}

func TestRead(t *testing.T) {
	for name, test := range map[string]struct{ in, want string }{
		"empty":      {" \n", "report: read: nothing there: not a report of gateway-bench"},
		"garbage":    {"\x7fELF", "report: read: not a report of gateway-bench: line 1: invalid character '\\x7f' looking for beginning of value"},
		"cut":        {"{\"version\":1,\n\"machine\":{", "report: read: not a report of gateway-bench: line 2: unexpected end of JSON input"},
		"list":       {"[]", "report: read: not a report of gateway-bench: line 1: array where the report should be"},
		"no version": {`{"a":1}`, `report: read: no "version": not a report of gateway-bench`},
		"newer":      {`{"version":7,"scenarios":{}}`, "report: read: the form has version 7, this gateway-bench reads version 1 alone: make the report again, or use the gateway-bench that made it"},
		"wrong type": {"{\"version\":1,\n\n\"quick\":3}", `report: read: not a report of gateway-bench: line 3: number where "quick" should be: it is of type bool`},
		"more":       {`{"version":1} {}`, "report: read: not a report of gateway-bench: line 1: invalid character '{' after top-level value"},
	} {
		r, err := Read(strings.NewReader(test.in))
		if err == nil || err.Error() != test.want || r != nil {
			t.Errorf("%s: %v\n  want %s", name, err, test.want)
		}
	}
	broken := errors.New("broken")
	if _, err := Read(io.MultiReader(strings.NewReader("{"), errorReader{broken})); !errors.Is(err, broken) {
		t.Errorf("a reader's error is lost: %v", err)
	}
}

type errorReader struct{ err error }

func (r errorReader) Read([]byte) (int, error) { return 0, r.err }

// A writer's error comes back from each form.
func TestWriteError(t *testing.T) {
	r := sample(1, 1)
	for name, write := range map[string]func(io.Writer) error{
		"json": r.WriteJSON, "table": r.WriteTable, "html": r.WriteHTML,
		"compare": func(w io.Writer) error { return Compare(w, r, r) },
	} {
		reader, writer := io.Pipe()
		reader.Close()
		if err := write(writer); !errors.Is(err, io.ErrClosedPipe) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// FuzzRead: whatever Read takes can be written in every form.
func FuzzRead(f *testing.F) {
	small := sample(1, 1)
	small.Scenarios = small.Scenarios[8:9]
	for i := range small.Scenarios[0].Subjects {
		runs := small.Scenarios[0].Subjects[i].Runs
		for j := range runs {
			runs[j].Samples = runs[j].Samples[:3]
			runs[j].Latency.Curve = runs[j].Latency.Curve[:3]
		}
	}
	for _, r := range []*Report{small, odd["all failed"], odd["out of all bounds"], odd["hostile names"]} {
		var b bytes.Buffer
		if err := r.WriteJSON(&b); err != nil {
			f.Fatal(err)
		}
		f.Add(b.Bytes())
	}
	f.Add([]byte(`{"version":2}`))
	f.Add([]byte("{\"version\":1,\n\"scenarios\":[{}"))
	f.Fuzz(func(t *testing.T, data []byte) {
		r, err := Read(bytes.NewReader(data))
		if err != nil {
			if strings.ContainsAny(err.Error(), "\r\n") {
				t.Errorf("an error of more than a line: %q", err)
			}
			return
		}
		check(t, r)
	})
}
