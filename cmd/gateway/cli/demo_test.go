// This file tests what the demo counts.

package cli

import (
	"bufio"
	"context"
	"io"
	"net/http"
	"regexp"
	"strings"
	"testing"
	"time"

	"sluice/bench/sim"
	"sluice/engine"
)

// An event that is still to be redelivered when the demo ends is not lost.
func TestDemoCount(t *testing.T) {
	for _, c := range []struct {
		report sim.Report
		want   string
	}{
		{sim.Report{Received: 7}, ", lost 0"},
		{sim.Report{Received: 7, Pending: 50}, ", lost 0, not sent again yet 50"},
		{sim.Report{Received: 7, Lost: 1, Unknown: 2, Abandoned: 3, Pending: 4}, ", lost 6, not sent again yet 4"},
	} {
		if got := demoCount(c.report, engine.Counts{}, 3); !strings.HasPrefix(got, "events 7, faults 3, ") || !strings.HasSuffix(got, c.want) {
			t.Errorf("%q, want it to end with %q", got, c.want)
		}
	}
}

// The demo serves the gateway's page, and says where.
func TestDemoPage(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	in, out := io.Pipe()
	ended := make(chan int, 1)
	go func() {
		ended <- demo(ctx, []string{"-shards", "3", "-seed", "0"}, io.Discard, out)
		out.Close()
	}()
	lines := bufio.NewScanner(in)
	address := regexp.MustCompile(`page is at (http://\S+)`)
	found := ""
	for found == "" && lines.Scan() {
		if m := address.FindStringSubmatch(lines.Text()); m != nil {
			found = m[1]
		}
	}
	if found == "" {
		t.Fatal("no line says where the page is")
	}
	go io.Copy(io.Discard, in)
	get := func(path string) string {
		r, err := http.Get(found + path)
		if err != nil {
			t.Fatal(err)
		}
		defer r.Body.Close()
		body, err := io.ReadAll(r.Body)
		if err != nil || r.StatusCode != http.StatusOK {
			t.Fatalf("%s: %s, %v", path, r.Status, err)
		}
		return string(body)
	}
	if !strings.Contains(get(""), "<title>Sluice</title>") {
		t.Error("no page")
	}
	for end := time.Now().Add(2 * time.Minute); !strings.Contains(get("status"), `"ready":3`); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("the page's shards are not ready")
		}
	}
	cancel()
	if code := <-ended; code != exitOK {
		t.Errorf("exit code %d", code)
	}
}

// A shard of the demo that a fault stalls is soon noticed, however many there are.
func TestDemoStalled(t *testing.T) {
	for _, shards := range []int{1, demoShards, 100, 101, 1000, 10_000, maxDemoShards} {
		if o := demoOptions(shards, 1, 1); o.HeartbeatInterval+o.HeartbeatGrace > 40*time.Second {
			t.Errorf("%d shards: noticed after %v", shards, o.HeartbeatInterval+o.HeartbeatGrace)
		}
	}
}
