// This file opens the page more often than the listener allows.

package e2e

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"testing"
	"time"

	"sluice/cmd/gateway/admin"
	"sluice/cmd/gateway/page"
	"sluice/cmd/gateway/page/pagetest"
)

// 32 may watch at a time: the next one's page says why it shows nothing, and shows it when one has gone.
func TestPageViewers(t *testing.T) {
	t.Parallel()
	const most = 32
	logs := new(page.Logs)
	source := pagetest.New(4, 1, time.Now(), slog.NewTextHandler(logs, nil))
	p := page.New(page.Options{Summary: source.Summary, Shards: source.Shards, Logs: logs, Period: 100 * time.Millisecond})
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { p.Run(ctx); close(done) }()
	t.Cleanup(func() { cancel(); <-done })
	served, err := admin.Listen(admin.Options{Address: "127.0.0.1:0", Page: p})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { served.Close() })
	url := fmt.Sprintf("http://%s/", served.Addr("http.address"))

	transport := new(http.Transport)
	t.Cleanup(transport.CloseIdleConnections)
	client := http.Client{Transport: transport}
	var first io.Closer
	for i := range most {
		answer, err := client.Get(url + "page/stream")
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { answer.Body.Close() })
		if answer.StatusCode != http.StatusOK {
			t.Fatalf("viewer %d: %s", i+1, answer.Status)
		}
		if first == nil {
			first = answer.Body
		}
	}
	b := openTab(t, browser(t), url, desktop)
	b.says("#banner", "No connection to the gateway: it answers 503: 32 streams are open (pages and gateway tap), which is the most; close one.")
	b.says("#link", "not connected")
	if text := value[string](b, "document.getElementById('shards').innerText"); strings.Contains(text, "No shard runs") {
		t.Errorf("without data the page says %q", text)
	}
	b.shoot("refused")
	first.Close()
	b.says("#link", "live")
	b.says("#legend", "4 ready")
	b.until("document.getElementById('banner').hidden")
}
