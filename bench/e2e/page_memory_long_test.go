//go:build long

// This file leaves the page open for long.

package e2e

import (
	"fmt"
	"log/slog"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/heapprofiler"
	"github.com/chromedp/cdproto/memory"
	"github.com/chromedp/cdproto/performance"
	"github.com/chromedp/cdproto/runtime"

	"sluice/cmd/gateway/page"
	"sluice/cmd/gateway/page/pagetest"
)

// footprint is what a tab holds after a collection of garbage.
type footprint struct {
	heap               float64 // bytes of JavaScript
	nodes, listeners   int64   // of the DOM, those in no document included
	shown, shownCharts int64   // nodes in the document; of them, in the charts, whose rules depend on the values
}

func (p *tab) footprint() footprint {
	p.t.Helper()
	call(p, heapprofiler.CollectGarbage, cdp.Empty{})
	heap := call(p, runtime.GetHeapUsage, cdp.Empty{})
	dom := call(p, memory.GetDOMCounters, cdp.Empty{})
	shown := value[[2]int64](p, `(() => {
		const count = (root) => { const w = document.createTreeWalker(root, NodeFilter.SHOW_ALL); let n = 1; while (w.nextNode()) n++; return n; };
		return [count(document), [...document.querySelectorAll(".chart figure")].reduce((n, e) => n + count(e), 0)];
	})()`)
	return footprint{heap.UsedSize, dom.Nodes, dom.JsEventListeners, shown[0], shown[1]}
}

// metric returns one of the renderer's, in seconds.
func (p *tab) metric(name string) float64 {
	p.t.Helper()
	for _, m := range call(p, performance.GetMetrics, cdp.Empty{}).Metrics {
		if m.Name == name {
			return m.Value
		}
	}
	p.t.Fatalf("no metric %s", name)
	return 0
}

// A page of 10,000 shards that has had the messages of 16 minutes, when its charts are full, holds what it held after one: no node of the DOM and
// no listener more, and a heap that is bounded. Messages come many times as fast as in life.
func TestPageMemory(t *testing.T) {
	const shards, slack = 10000, 4 << 20
	logs := new(page.Logs)
	source := pagetest.New(shards, 1, time.Now(), slog.NewJSONHandler(logs, nil))
	s := &shown{Source: source}
	const period = 50 * time.Millisecond
	s.serve(t, page.Options{Summary: source.Summary, Shards: source.Shards, Logs: logs, Period: period})
	p := openTab(t, browser(t), s.url, desktop)
	p.says("#legend", "10,000 ready")
	// Each message has its drawing.
	value[any](p, `window.drawn = 0, window.before = requestAnimationFrame, window.requestAnimationFrame = (f) => before((at) => { drawn++; f(at); }), 0`)

	// after lets so many messages come, of a gateway that has faults, and then has what was before them on the page: every
	// shard ready, and 500 log lines of one shape.
	messages := 0
	after := func(n int) footprint {
		source.Cuts(10)
		for ; messages < n; messages = value[int](p, "drawn") {
			source.Step(time.Second)
			time.Sleep(period)
		}
		source.Cuts(0)
		for ready := false; !ready; {
			source.Step(time.Second)
			ready = source.Summary().Shards.Ready == shards
		}
		for i := range 600 {
			fmt.Fprintf(logs, "{\"time\":\"2026-01-02T03:04:05Z\",\"level\":\"INFO\",\"msg\":\"line %d of %d\",\"shard\":1}\n", i, n)
		}
		p.says("#legend", "10,000 ready")
		p.says("#lines li:last-child", fmt.Sprintf("line 599 of %d", n))
		p.says("#story", "No shard is behind")
		p.says("#a-behind .big", "None")
		return p.footprint()
	}
	after(20) // what is there once: every cause in its table, every state in the legend
	first := after(60)
	for _, minutes := range []int{6, 16} {
		now := after(60 * minutes)
		// A drawing that goes on holds nodes which the next collection frees.
		for end := time.Now().Add(patience); now.nodes-now.shown > first.nodes-first.shown && time.Now().Before(end); {
			now = p.footprint()
		}
		t.Logf("after 1 minute of messages: %+v; after %d: %+v", first, minutes, now)
		if grown := (now.nodes - now.shown) - (first.nodes - first.shown); grown > 0 {
			t.Errorf("%d nodes more that are in no document", grown)
		}
		if a, b := first.shown-first.shownCharts, now.shown-now.shownCharts; a != b {
			t.Errorf("the document has %d nodes outside the charts, and had %d", b, a)
		}
		if now.shownCharts > first.shownCharts+40 {
			t.Errorf("the charts have %d nodes, and had %d", now.shownCharts, first.shownCharts)
		}
		if now.listeners > first.listeners {
			t.Errorf("%d listeners, which were %d", now.listeners, first.listeners)
		}
		if now.heap > first.heap+slack {
			t.Errorf("the heap has %.1f MiB, and had %.1f", now.heap/(1<<20), first.heap/(1<<20))
		}
	}
	p.quiet()

	// What a second of it costs in life.
	live := show(t, shards, time.Second)
	live.Cuts(3)
	p = openTab(t, browser(t), live.url, desktop)
	p.says("#legend", "ready")
	call(p, performance.Enable, performance.EnableParams{})
	value[any](p, `window.drawn = 0, window.before = requestAnimationFrame, window.requestAnimationFrame = (f) => before((at) => { drawn++; f(at); }), 0`)
	task, script, all := p.metric("TaskDuration"), p.metric("ScriptDuration"), p.metric("ProcessTime")
	const seconds = 20
	for value[int](p, "drawn") < seconds {
		live.Step(time.Second)
		time.Sleep(time.Second)
	}
	t.Logf("per second of real time, the mean of %d: main thread %.1f ms, of it script %.1f ms; CPU of the renderer's process %.1f ms", seconds,
		(p.metric("TaskDuration")-task)/seconds*1000, (p.metric("ScriptDuration")-script)/seconds*1000, (p.metric("ProcessTime")-all)/seconds*1000)
}
