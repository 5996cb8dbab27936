// This file looks at what the page's boxes do with texts that are long, short or not there.

package e2e

import (
	"fmt"
	"log/slog"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"

	"sluice/cmd/gateway/page"
	"sluice/cmd/gateway/page/pagetest"
	"sluice/cmd/gateway/status"
)

// A long error of the broker is cut, and all of it is shown to who asks, by keyboard or mouse.
func TestPageLongError(t *testing.T) {
	t.Parallel()
	s := show(t, 1000, 100*time.Millisecond)
	s.Broker("dial tcp: lookup redis-master.sluice.svc.cluster.local on 10.96.0.10:53: " +
		strings.Repeat("read udp 10.244.3.17:49034->10.96.0.10:53: i/o timeout; ", 6) + "the end of the error")
	s.Step(time.Second)
	b := browser(t)
	for _, l := range []look{desktop, {width: 390, height: 844}} {
		p := openTab(t, b, s.url, l)
		const (
			cut   = "document.querySelector('#a-broker .small').scrollHeight > document.querySelector('#a-broker .small').clientHeight"
			whole = "!(" + cut + ") && document.querySelector('#a-broker .small').innerText.includes('the end of the error')"
		)
		p.says("#a-broker .more", "Show all")
		if !value[bool](p, cut) {
			t.Fatal("the error is not too long for its box")
		}
		if !value[bool](p, "document.querySelector('#a-lost .more').hidden") {
			t.Error("a text that fits has a button")
		}
		for range 20 {
			if value[bool](p, "Boolean(document.activeElement.closest('#a-broker .more'))") {
				break
			}
			p.press(kb.Tab)
		}
		p.press(kb.Enter)
		p.until(whole)
		// It stays so, whatever comes: its text has the time.
		said := value[string](p, "document.querySelector('#a-broker .small').innerText")
		s.Step(2 * time.Second)
		p.until(fmt.Sprintf("document.querySelector('#a-broker .small').innerText != %q", said))
		if !value[bool](p, whole) {
			t.Error("the next message has cut the text again")
		}
		p.do(chromedp.Click(chromedp.CSS("#a-broker .more")))
		p.until(cut)
		p.do(chromedp.Click(chromedp.CSS("#a-broker .more")))
		p.until(whole)
		p.shoot("open")
		s.Broker("")
		p.until("document.querySelector('#a-broker .more').hidden")
		p.quiet()
		s.Broker(strings.Repeat("another error of the broker, which is long; ", 12) + "the end of the error")
		p.says("#a-broker .more", "Show")
	}
}

// The sign of an answer is in the first line of its text, however many there are.
func TestPageSign(t *testing.T) {
	t.Parallel()
	s := show(t, 1000, 100*time.Millisecond)
	for id := range 150 {
		s.Change(id, func(n *status.Shard) { n.State = "backoff" })
	}
	s.Lose(1234567, 1234, 0)
	p := openTab(t, browser(t), s.url, look{width: 910, height: 800})
	p.says("#a-behind .big", "Shard 0 and 149 more")
	for _, box := range []string{"behind", "lost"} {
		lines := value[[2]float64](p, `(() => {
			const big = document.querySelector("#a-`+box+` .big"), text = document.createRange();
			text.selectNodeContents(big.querySelector("button") ?? big);
			const tops = [...text.getClientRects()].filter((r) => r.width > 0).map((r) => r.top);
			return [Math.min(...tops) - big.getBoundingClientRect().top, Math.max(...tops) - Math.min(...tops)];
		})()`)
		if lines[1] < 15 {
			t.Fatalf("%s: the text has one line", box)
		}
		if lines[0] > 10 {
			t.Errorf("%s: the text begins %v pixels below its sign", box, lines[0])
		}
	}
	p.shoot("sign")
}

// A shard whose last event came just now, of which the document leaves out the age, has one.
func TestPageLastEvent(t *testing.T) {
	t.Parallel()
	s := show(t, 4, 100*time.Millisecond)
	s.Change(1, func(n *status.Shard) { n.Events, n.LastEvent = 0, 0 })
	s.Cut(3, "connection lost", 1006)
	for _, n := range s.Source.Shards() {
		if n.LastEvent != 0 {
			t.Fatalf("the last event of shard %d has the age %v", n.ID, n.LastEvent)
		}
	}
	p := openTab(t, browser(t), s.url, desktop)
	p.says("#legend", "1 backoff")
	for _, tt := range [][2]string{{"3", "last event now"}, {"1", "last event none yet"}} {
		p.do(chromedp.SetValue(chromedp.CSS("#find-id"), tt[0]), chromedp.Focus(chromedp.CSS("#find-id")))
		p.press(kb.Enter)
		p.says("#story", "Shard "+tt[0])
		p.says("#story", tt[1])
	}
}

// A list of shards that are behind, however long, scrolls, and leaves the grid about as high as it was.
func TestPageLongList(t *testing.T) {
	t.Parallel()
	s := show(t, 1000, 100*time.Millisecond)
	p := openTab(t, browser(t), s.url, look{width: 1280, height: 800})
	p.says("#story", "No shard is behind")
	for id := range 40 {
		s.Change(id, func(n *status.Shard) {
			n.State, n.Why = "backoff", "connecting again in 3 s after: closed by Discord with 4000 (Unknown error), "+strings.Repeat("which was not expected; ", 5)
		})
	}
	p.says("#story", "and 28 more")
	if !value[bool](p, "document.getElementById('story').scrollHeight > document.getElementById('story').clientHeight") {
		t.Error("the list does not scroll")
	}
	if height := value[int](p, "document.getElementById('shards').offsetHeight"); height > 640 {
		t.Errorf("the list makes the grid's panel %d pixels high", height)
	}
	p.shoot("list")
}

// While no event is acknowledged there is no lag, and no line of it.
func TestPageNoLag(t *testing.T) {
	t.Parallel()
	var quiet atomic.Bool
	quiet.Store(true)
	source := pagetest.New(4, 1, time.Now(), slog.DiscardHandler)
	s := &shown{Source: source}
	s.serve(t, page.Options{Shards: source.Shards, Period: 20 * time.Millisecond, Summary: func() *status.Status {
		source.Step(time.Second)
		d := source.Summary()
		if quiet.Load() {
			d.Events.Lag = status.Lag{}
		}
		return d
	}})
	p := openTab(t, browser(t), s.url, desktop)
	points := func(chart string) string {
		return fmt.Sprintf("(document.querySelector('#%s path.p50')?.getAttribute('d') ?? '').split(/[ML]/).length - 1", chart)
	}
	p.until(points("chart-rate") + " > 2")
	if n := value[int](p, points("chart-lag")); n > 0 {
		t.Errorf("the line of the lag has %d points", n)
	}
	quiet.Store(false)
	p.until(points("chart-lag") + " > 2")
	p.quiet()
}
