// This file tests what the debug address serves, and what it does not.

package cli

import (
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"testing"
)

// addressOf finds the address in what is logged.
type addressOf chan string

func (a addressOf) Write(p []byte) (int, error) {
	if _, rest, ok := strings.Cut(string(p), "http://"); ok {
		address, _, _ := strings.Cut(rest, "/")
		a <- address
	}
	return len(p), nil
}

// The debug address serves runtime figures and profiles, and nothing else.
func TestDebug(t *testing.T) {
	address := make(addressOf, 1)
	if err := serveDebug(t.Context(), "127.0.0.1:0", slog.New(slog.NewTextHandler(address, nil))); err != nil {
		t.Fatal(err)
	}
	base := "http://" + <-address
	get := func(path string) (int, string) {
		resp, err := http.Get(base + path)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		body, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Fatal(err)
		}
		return resp.StatusCode, string(body)
	}
	status, body := get("/debug/runtime")
	var figures map[string]float64
	if err := json.Unmarshal([]byte(body), &figures); err != nil || status != 200 {
		t.Fatalf("%d, %v: %s", status, err, body)
	}
	for _, name := range debugFigures {
		value, ok := figures[name]
		// Those of the collector are 0 before the first collection.
		if !ok || value == 0 && name != "/gc/heap/live:bytes" && name != "/gc/cycles/total:gc-cycles" && !strings.HasPrefix(name, "/cpu/") {
			t.Errorf("no %s in %s", name, body)
		}
	}
	if status, body := get("/debug/pprof/goroutine?debug=1"); status != 200 || !strings.Contains(body, "goroutine profile") {
		t.Errorf("%d: %s", status, body)
	}
	// The command line may hold secrets.
	if status, _ := get("/debug/pprof/cmdline"); status != 404 {
		t.Errorf("the command line is answered with %d", status)
	}
	if err := serveDebug(t.Context(), strings.TrimPrefix(base, "http://"), slog.New(slog.DiscardHandler)); err == nil || !strings.Contains(err.Error(), "debug.address") {
		t.Errorf("an address in use: %v", err)
	}
	http.DefaultClient.CloseIdleConnections()
}
