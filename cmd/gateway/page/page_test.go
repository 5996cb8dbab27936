package page

import (
	"bytes"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"sluice/cmd/gateway/status"
)

// What the page is made of is there, with its type, is asked for again each time, and comes from nowhere else.
func TestAssets(t *testing.T) {
	p := New(Options{})
	get := func(path, tag string) *http.Response {
		r := httptest.NewRequest("GET", path, nil)
		r.Header.Set("If-None-Match", tag)
		w := httptest.NewRecorder()
		p.ServeHTTP(w, r)
		return w.Result()
	}
	files, err := os.ReadDir("assets")
	if err != nil {
		t.Fatal(err)
	}
	reference := regexp.MustCompile(`(?:src|href)="([^"]+)"|from "\./([^"]+)"`)
	for _, f := range files {
		path := "/page/" + f.Name()
		if f.Name() == "index.html" {
			path = "/"
		}
		r := get(path, "")
		policy := r.Header.Get("Content-Security-Policy")
		if r.StatusCode != 200 || r.Header.Get("Content-Type") == "" || !strings.Contains(policy, "default-src 'none'") || strings.Contains(policy, "unsafe") {
			t.Errorf("%s: %s, %q", path, r.Status, r.Header)
		}
		if again := get(path, r.Header.Get("ETag")); again.StatusCode != http.StatusNotModified {
			t.Errorf("%s again: %s", path, again.Status)
		}
		text, err := os.ReadFile("assets/" + f.Name())
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range reference.FindAllStringSubmatch(string(text), -1) {
			switch to := m[1] + m[2]; {
			case to == "status" || to == "readyz?verbose": // of the listener
			case strings.HasPrefix(to, "/") || strings.Contains(to, ":"):
				t.Errorf("%s refers to %s, which is not relative", f.Name(), to)
			case get("/page/"+strings.TrimPrefix(to, "page/"), "").StatusCode != 200:
				t.Errorf("%s refers to %s, which is not there", f.Name(), to)
			}
		}
		if bytes.Contains(bytes.ReplaceAll(text, []byte("http://www.w3.org/2000/svg"), nil), []byte("://")) {
			t.Errorf("%s has an address of elsewhere", f.Name())
		}
		if f.Name() == "index.html" && regexp.MustCompile(` style=| on[a-z]+=|<style|<script>`).Match(text) {
			t.Errorf("%s has inline style or script, which the policy forbids", f.Name())
		}
	}
	for _, path := range []string{"/x", "/page/", "/page/index.html", "/page/../page.go", "/page/none.js"} {
		if r := get(path, ""); r.StatusCode == 200 {
			t.Errorf("%s: %s", path, r.Status)
		}
	}
}

func TestLogs(t *testing.T) {
	l := new(Logs)
	if got := string(l.between(nil, 0, l.count())); got != "[]" {
		t.Errorf("no line: %s", got)
	}
	fmt.Fprintf(l, "one\ntwo <b>\r\n")
	if got := string(l.between(nil, 1, l.count())); got != `["two \u003cb\u003e"]` {
		t.Errorf("%s", got)
	}
	for i := range 2 * maxLines {
		fmt.Fprintf(l, "%d\n", i)
	}
	got := string(l.between(nil, 0, l.count()))
	if !strings.HasPrefix(got, `["500",`) || !strings.HasSuffix(got, `"999"]`) || strings.Count(got, ",") != maxLines-1 {
		t.Errorf("after 1000 lines: %.40s…", got)
	}
	// Long lines are cut between letters, and bounded together.
	for range maxLines {
		fmt.Fprintf(l, "x%s\n", strings.Repeat("ü", maxLine))
	}
	got = string(l.between(nil, 0, l.count()))
	if len(got) > 2*maxLogSize || l.size > maxLogSize || !utf8.ValidString(got) || strings.ContainsRune(got, utf8.RuneError) || !strings.HasSuffix(got, `ü…"]`) {
		t.Errorf("long lines: %d bytes, which end with %q", len(got), got[len(got)-20:])
	}
	short := []byte("level=INFO msg=short\n")
	if n := testing.AllocsPerRun(1000, func() { l.Write(short) }); n > 0 {
		t.Errorf("a line costs %v allocations", n)
	}
}

// The logger of a secret writes it masked into both: the page has nothing else to show.
func TestLogsOfHandler(t *testing.T) {
	l := new(Logs)
	slog.New(slog.NewJSONHandler(l, nil)).Warn("connection ended", "shard", 3)
	if got := string(l.lines[0]); !strings.Contains(got, `"msg":"connection ended","shard":3}`) {
		t.Errorf("%s", got)
	}
}

func TestUpdate(t *testing.T) {
	at := time.Unix(1000, 0)
	ready := func(id int, rate, trip float64) status.Shard {
		return status.Shard{ID: id, State: "ready", Since: 500.4, Rate: rate, RoundTrip: trip}
	}
	rows, changed, gone := update(nil, []status.Shard{ready(1, 10, 0.04), ready(3, 0, 0), ready(9, 1, 1)}, at)
	if len(rows) != 3 || len(changed) != 3 || gone != nil {
		t.Fatalf("the first: %v, %v, %v", rows, changed, gone)
	}
	ids := func(rows []row) (all []int) {
		for _, r := range rows {
			all = append(all, r.id)
		}
		return all
	}
	for _, tt := range []struct {
		what          string
		shards        []status.Shard
		changed, gone []int
	}{
		{"nothing, or little", []status.Shard{ready(1, 12, 0.044), ready(3, 0, 0), ready(9, 0.5, 1.1)}, nil, nil},
		{"rate and round trip", []status.Shard{ready(1, 20, 0.04), ready(3, 0.1, 0), ready(9, 1, 2)}, []int{1, 3, 9}, nil},
		{"state", []status.Shard{ready(1, 10, 0.04), {ID: 3, State: "backoff"}, ready(9, 1, 1)}, []int{3}, nil},
		{"an unknown state", []status.Shard{ready(1, 10, 0.04), {ID: 3, State: "asleep"}, ready(9, 1, 1)}, []int{3}, nil},
		{"paused", []status.Shard{{ID: 1, State: "ready", Since: 500.4, Rate: 10, RoundTrip: 0.04, Paused: true}, ready(3, 0, 0), ready(9, 1, 1)}, []int{1}, nil},
		{"others", []status.Shard{ready(0, 1, 1), ready(3, 0, 0), ready(4, 1, 1)}, []int{0, 4}, []int{1, 9}},
		{"none", nil, nil, []int{1, 3, 9}},
	} {
		_, changed, gone := update(rows, tt.shards, at)
		if !slices.Equal(ids(changed), tt.changed) || !slices.Equal(gone, tt.gone) {
			t.Errorf("%s: changed %v, gone %v, want %v, %v", tt.what, ids(changed), gone, tt.changed, tt.gone)
		}
	}
	// Many small changes are one in the end.
	n := 0
	for i := range 40 {
		var changed []row
		rows, changed, _ = update(rows, []status.Shard{ready(1, 10+float64(i), 0.04), ready(3, 0, 0), ready(9, 1, 1)}, at)
		n += len(changed)
	}
	if n < 4 || n > 10 {
		t.Errorf("a rate that goes from 10 to 50 was sent %d times", n)
	}
}

func TestBehind(t *testing.T) {
	shards := []status.Shard{
		{ID: 0, State: "ready", LastACK: 41},
		{ID: 1, State: "ready", Paused: true},
		{ID: 2, State: "ready", LastACK: 75},
		{ID: 3, State: "resuming", Since: 9},
		{ID: 4, State: "backoff", Since: 3, Why: "closed by Discord"},
		{ID: 5, State: "backoff", Since: 70},
		{ID: 6, State: "stopped", Since: 1},
	}
	b := findBehind(shards)
	var ids []int
	for _, s := range b.List {
		ids = append(ids, s.ID)
	}
	if want := []int{6, 5, 4, 3, 2, 1}; b.Count != 6 || !slices.Equal(ids, want) {
		t.Errorf("behind are %d: %v, want %v", b.Count, ids, want)
	}
	shards = nil
	for id := range 10000 {
		shards = append(shards, status.Shard{ID: id, State: "identify queued", Since: float64(id % 100)})
	}
	if b := findBehind(shards); b.Count != 10000 || len(b.List) != maxBehind || b.List[0].ID != 99 || b.List[1].ID != 199 {
		t.Errorf("a start: %d, %v", b.Count, b.List)
	}
}

func TestHistory(t *testing.T) {
	var h history
	for i := range 500 {
		h.add(sample{at: int64(i)})
	}
	got := string(h.between(nil, 0, h.next))
	if !strings.HasPrefix(got, "[[320,") || !strings.HasSuffix(got, "[499,0,0,0,0,0]]") || strings.Count(got, "]") != historySize+1 {
		t.Errorf("%.40s…", got)
	}
}

// What a second costs at 10,000 shards, with however many viewers.
func BenchmarkCollect(b *testing.B) {
	shards := make([]status.Shard, 10000)
	for id := range shards {
		shards[id] = status.Shard{ID: id, State: "ready", Since: 1000, Rate: 10, RoundTrip: 0.04}
	}
	p := New(Options{Summary: func() *status.Status { return &status.Status{At: time.Unix(1e9, 0)} }, Shards: func() []status.Shard { return shards }})
	b.ReportAllocs()
	for b.Loop() {
		p.collect()
	}
}

func BenchmarkLog(b *testing.B) {
	l := new(Logs)
	line := []byte(`{"time":"2026-11-27T08:00:00Z","level":"INFO","msg":"connection ended","shard":17,"cause":"closed by Discord"}` + "\n")
	b.ReportAllocs()
	for b.Loop() {
		l.Write(line)
	}
}
