// This file opens the gateway's page in a real Chromium.

package e2e

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"

	"sluice/bench/sim"
	"sluice/cmd/gateway/page"
	"sluice/cmd/gateway/page/pagetest"
	"sluice/cmd/gateway/status"
	"sluice/engine"
	"sluice/sinks/stdio"
	"sluice/wire"
)

// chromium is shared: a start of it costs more than most tests of the page.
var chromium context.Context

// browser returns what is a browser of its own to the tabs of a test.
func browser(t *testing.T) context.Context {
	t.Helper()
	once(t, "chromium", func(string) error {
		// The sandbox of Chromium needs what a container may not have; it opens nothing but the page.
		ctx, stop := chromedp.NewExecAllocator(context.Background(), append(chromedp.DefaultExecAllocatorOptions[:], chromedp.NoSandbox)...)
		ctx, cancel := chromedp.NewContext(ctx)
		if err := chromedp.Do(ctx); err != nil {
			cancel()
			stop()
			return fmt.Errorf("chromium (make servers installs it) does not start: %w", err)
		}
		chromium = ctx
		shared.add(func() {
			chromedp.Cancel(ctx)
			cancel()
			stop()
		})
		return nil
	})
	ctx, cancel := chromedp.NewContext(chromium, chromedp.WithNewBrowserContext())
	t.Cleanup(cancel)
	if err := chromedp.Do(ctx); err != nil {
		t.Fatal(err)
	}
	return ctx
}

// tab is a page that is open.
type tab struct {
	t   *testing.T
	ctx context.Context

	mu      sync.Mutex
	console []string // errors and warnings, violations of the Content-Security-Policy among them
}

// look is how somebody looks at the page.
type look struct {
	width, height int64
	features      map[string]string // of CSS media
	noScript      bool
}

var desktop = look{width: 1440, height: 900}

// openTab opens an address.
func openTab(t *testing.T, parent context.Context, url string, l look) *tab {
	t.Helper()
	ctx, cancel := chromedp.NewContext(parent)
	b := &tab{t: t, ctx: ctx}
	b.do(chromedp.EmulateViewport(l.width, l.height))
	messages := chromedp.Console(ctx)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for m, err := range messages {
			if err != nil {
				return
			}
			b.mu.Lock()
			b.console = append(b.console, m.String())
			b.mu.Unlock()
		}
	}()
	t.Cleanup(func() { cancel(); <-done })
	var media []*emulation.MediaFeature
	for name, value := range l.features {
		media = append(media, &emulation.MediaFeature{Name: name, Value: value})
	}
	call(b, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{Features: media})
	call(b, emulation.SetScriptExecutionDisabled, emulation.SetScriptExecutionDisabledParams{Value: l.noScript})
	b.do(chromedp.Navigate(url))
	return b
}

func call[P, R any](b *tab, c cdp.Command[P, R], params P) R {
	b.t.Helper()
	r, err := chromedp.Call(b.ctx, c, params)
	if err != nil {
		b.t.Fatal(err)
	}
	return r
}

func (b *tab) do(steps ...chromedp.Action[chromedp.Void]) {
	b.t.Helper()
	if err := chromedp.Do(b.ctx, steps...); err != nil {
		b.t.Fatal(err)
	}
}

// value returns that of an expression of JavaScript.
func value[T any](b *tab, expression string) T {
	b.t.Helper()
	v, err := chromedp.Run(b.ctx, chromedp.Evaluate[T](expression))
	if err != nil {
		b.t.Fatalf("%s: %v", expression, err)
	}
	return v
}

// until waits until an expression is true.
func (b *tab) until(expression string) {
	b.t.Helper()
	for end := time.Now().Add(patience); !value[bool](b, "Boolean("+expression+")"); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(end) {
			b.shoot("failed")
			b.t.Fatalf("not within %v: %s; the page says %.1500s", patience, expression, value[string](b, "document.body.innerText"))
		}
	}
}

// says waits until the element of a selector has the text.
func (b *tab) says(selector, text string) {
	b.t.Helper()
	b.until(fmt.Sprintf("document.querySelector(%q)?.innerText.replace(/\\s+/g, ' ').includes(%q)", selector, text))
}

func (b *tab) press(keys ...string) {
	b.t.Helper()
	for _, k := range keys {
		b.do(chromedp.KeyEvent(k))
	}
}

// quiet fails if the console has something.
func (b *tab) quiet() {
	b.t.Helper()
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.console) > 0 {
		b.t.Errorf("the console has:\n%s", strings.Join(b.console, "\n"))
	}
}

// shoot writes a screenshot into the folder of PAGE_SHOTS, for who wants to look.
func (b *tab) shoot(name string) {
	b.t.Helper()
	dir := os.Getenv("PAGE_SHOTS")
	if dir == "" {
		return
	}
	png, err := chromedp.Run(b.ctx, chromedp.FullScreenshot(100))
	if err != nil {
		b.t.Fatal(err)
	}
	name = strings.ReplaceAll(b.t.Name()+"-"+name, "/", "-")
	if err := os.WriteFile(filepath.Join(dir, name+".png"), png, 0o644); err != nil {
		b.t.Fatal(err)
	}
}

// shown is a page that is served, of a gateway that is made up or real.
type shown struct {
	*pagetest.Source
	url    string
	server *http.Server
}

// show serves the page of a made-up gateway.
func show(t *testing.T, shards int, period time.Duration) *shown {
	logs := new(page.Logs)
	s := &shown{Source: pagetest.New(shards, 1, time.Now(), slog.NewJSONHandler(logs, nil))}
	s.serve(t, page.Options{Summary: s.Source.Summary, Shards: s.Source.Shards, Logs: logs, Period: period})
	return s
}

func (s *shown) serve(t *testing.T, o page.Options) {
	p := page.New(o)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { p.Run(ctx); close(done) }()
	t.Cleanup(func() { cancel(); <-done })
	s.listen(t, "127.0.0.1:0", p)
}

// listen serves a handler below a path, as behind a proxy.
func (s *shown) listen(t *testing.T, address string, h http.Handler) string {
	l, err := net.Listen("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	s.server = &http.Server{Handler: http.StripPrefix("/of/gateway", h)}
	done := make(chan struct{})
	server := s.server
	go func() { server.Serve(l); close(done) }()
	t.Cleanup(func() { server.Close(); <-done })
	s.url = "http://" + l.Addr().String() + "/of/gateway/"
	return l.Addr().String()
}

// A shard that is cut is followed, from its cut until it is ready again.
func TestPage(t *testing.T) {
	t.Parallel()
	b := browser(t)
	for _, shards := range []int{4, 1000, 10000} {
		t.Run(fmt.Sprint(shards), func(t *testing.T) {
			s := show(t, shards, 100*time.Millisecond)
			p := openTab(t, b, s.url, desktop)
			p.says("#a-behind .big", "None")
			p.says("#legend", fmt.Sprintf("%s ready", withCommas(shards)))
			p.says("#a-lost .big", "Nothing lost")
			p.says("#ended", "closed by Discord other 1")
			p.shoot("ready")
			s.Cut(3, "closed by Discord", 4000)
			p.says("#a-behind .big", "Shard 3")
			p.says("#legend", "1 backoff")
			p.says("#lines", "connection ended")
			p.do(chromedp.Click(chromedp.CSS("#a-behind button")))
			p.says("#story", "4000 Unknown error")
			p.says("#story", "backoff for")
			p.until("!document.getElementById('chosen').hidden")
			p.shoot("cut")
			for range 10 {
				s.Step(time.Second)
			}
			p.says("#legend", fmt.Sprintf("%s ready", withCommas(shards)))
			p.says("#story", "ready for")
			p.says("#story", "4000 Unknown error") // how its last connection ended
			p.says("#a-behind .big", "None")
			if title := value[string](p, "document.title"); title != "ready · Sluice" {
				t.Errorf("the title is %q", title)
			}
			// The pixel of a shard has the colour of its state.
			s.Change(1, func(n *status.Shard) { n.State = "stopped" })
			p.says("#legend", "1 stopped")
			p.quiet()
		})
	}
}

func withCommas(n int) string {
	if n < 1000 {
		return fmt.Sprint(n)
	}
	return fmt.Sprintf("%d,%03d", n/1000, n%1000)
}

// Everything can be reached by keyboard alone.
func TestPageKeyboard(t *testing.T) {
	t.Parallel()
	s := show(t, 1000, 100*time.Millisecond)
	s.Cut(51, "connection lost", 1006)
	p := openTab(t, browser(t), s.url, desktop)
	p.says("#legend", "1 backoff")
	for range 20 {
		if value[string](p, "document.activeElement.id") == "grid" {
			break
		}
		p.press(kb.Tab)
	}
	p.says("#tip", "shard 0")
	p.press(kb.ArrowDown, kb.ArrowRight) // a row of the grid is fifty shards at this width
	p.says("#tip", "shard 51")
	p.until("document.getElementById('spoken').textContent.startsWith('shard 51, backoff')")
	p.press(kb.Enter)
	p.says("#story", "Shard 51")
	p.press(kb.Escape, kb.Escape)
	p.says("#story", "Behind: 1")
	p.press(kb.End, kb.Enter)
	p.says("#story", "Shard 999")

	// A guild's shard, by its id above the exact numbers of JavaScript.
	p.press("/")
	p.until("document.activeElement.id == 'find-id'")
	for _, tt := range [][2]string{
		{"1327450871094185984", "is on shard 513 of 1,000"}, {"17", ""}, {"5000", "no shard 5000"}, {"abc", "digits"},
	} {
		p.do(chromedp.SetValue(chromedp.CSS("#find-id"), tt[0]))
		p.press(kb.Enter)
		p.until(fmt.Sprintf("document.getElementById('found').textContent.includes(%q)", tt[1]))
	}
	p.says("#story", "Shard 17")
	p.press(kb.Escape)
	p.says("#story", "Behind: 1")

	// The log's filters.
	p.says("#lines", "connection ended")
	p.do(chromedp.Focus(chromedp.CSS("#filter")))
	p.press("nowhere")
	p.until("![...document.querySelectorAll('#lines li')].some((e) => !e.hidden)")
	p.quiet()
}

// Light, dark and narrow: the page has the colours of the system or those that were chosen, and no width above the screen's.
func TestPageLooks(t *testing.T) {
	t.Parallel()
	s := show(t, 1000, 100*time.Millisecond)
	s.Cut(51, "connection lost", 1006)
	b := browser(t)
	ground := func(p *tab) string {
		return value[string](p, "getComputedStyle(document.documentElement).backgroundColor")
	}
	light := openTab(t, b, s.url, look{1440, 900, map[string]string{"prefers-color-scheme": "light", "prefers-reduced-motion": "reduce"}, false})
	light.says("#legend", "1 backoff")
	white := ground(light)
	if light.shoot("light"); value[int](light, "document.getAnimations().length") > 0 {
		t.Error("something moves, against prefers-reduced-motion")
	}
	dark := openTab(t, b, s.url, look{1440, 900, map[string]string{"prefers-color-scheme": "dark"}, false})
	dark.says("#legend", "1 backoff")
	if dark.shoot("dark"); ground(dark) == white {
		t.Errorf("dark and light have the ground %s", white)
	}
	dark.do(chromedp.Click(chromedp.CSS("#theme")))
	dark.says("#theme", "light")
	if got := ground(dark); got != white {
		t.Errorf("light was chosen, and the ground is %s, want %s", got, white)
	}
	dark.do(chromedp.Reload())
	dark.says("#theme", "light")
	dark.quiet()

	phone := openTab(t, b, s.url, look{width: 360, height: 740})
	phone.says("#legend", "1 backoff")
	phone.shoot("phone")
	if width := value[int](phone, "document.documentElement.scrollWidth"); width > 360 {
		t.Errorf("the page is %d pixels wide on a screen of 360", width)
	}
	phone.quiet()

	none := openTab(t, b, s.url, look{width: 800, height: 600, noScript: true})
	if text, err := chromedp.Run(none.ctx, chromedp.Text(chromedp.CSS("noscript"))); err != nil || !strings.Contains(text, "gateway status") {
		t.Errorf("without JavaScript: %q, %v", text, err)
	}
}

// While the gateway starts, has no status, or is not there, the page says so, and goes on afterwards.
func TestPageLost(t *testing.T) {
	t.Parallel()
	s := show(t, 0, 100*time.Millisecond)
	s.Silence(true)
	b := browser(t)
	p := openTab(t, b, s.url, desktop)
	p.says("#facts", "starting")
	s.Silence(false)
	p.says("#a-behind .big", "No shard runs")
	p.says("#nothing", "No shard")
	p.quiet()

	s = show(t, 4, 100*time.Millisecond)
	handler := s.server.Handler
	p = openTab(t, b, s.url, desktop)
	p.says("#link", "live")
	p.says("#legend", "ready")
	s.server.Close()
	p.says("#banner", "Connection to the gateway lost")
	p.says("#banner", "old")
	p.until("document.title.startsWith('connection lost')")
	p.shoot("lost")
	address := strings.TrimSuffix(strings.TrimPrefix(s.url, "http://"), "/of/gateway/")
	s.listen(t, address, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		http.Error(w, "32 streams are open", http.StatusServiceUnavailable)
	}))
	p.says("#banner", "503: 32 streams are open")
	s.server.Close()
	s.listen(t, address, http.StripPrefix("", http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		r.URL.Path = "/of/gateway" + r.URL.Path
		handler.ServeHTTP(w, r)
	})))
	p.until("document.getElementById('banner').hidden")
	p.says("#link", "live")
}

// The five questions have an answer while something is wrong.
func TestPageAnswers(t *testing.T) {
	t.Parallel()
	s := show(t, 1000, 100*time.Millisecond)
	b := browser(t)
	p := openTab(t, b, s.url, desktop)
	p.says("#a-broker .big", "No")
	s.Broker("dial tcp 10.0.3.7:6379: connect: connection refused")
	for range 60 {
		s.Step(time.Second)
	}
	s.Lose(12, 1, 3)
	p.says("#a-broker .big", "Yes: redis unavailable")
	p.says("#a-broker .small", "connection refused")
	p.says("#a-lost .big", "12 events, 1 gap lost")
	p.says("#a-ready .big", "Not ready")
	p.says("#capacity", "new events go to the disk")
	p.shoot("outage")

	start := show(t, 10000, 100*time.Millisecond)
	start.Starting(1200)
	p = openTab(t, b, start.url, desktop)
	p.says("#a-behind .small", "wait for their turn to identify")
	p.says("#a-ready .small", "1,200 of 10,000")
	p.shoot("starting")
	p.quiet()
}

// A shard of a real engine, which the simulated Discord cuts.
func TestPageEngine(t *testing.T) {
	t.Parallel()
	srv, err := sim.New(sim.Options{Shards: 4, MaxConcurrency: 4, Rate: 5, Seed: 1, ReadyDelay: -1})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { srv.Close() })
	transport := new(http.Transport)
	t.Cleanup(transport.CloseIdleConnections)
	logs := new(page.Logs)
	e, err := engine.New(engine.Options{
		Token: "sim-token", Intents: wire.AllIntents, Sink: stdio.NewSink(io.Discard, stdio.JSON), Log: slog.New(slog.NewTextHandler(logs, nil)),
		API: &wire.API{Base: srv.APIURL(), Token: "sim-token", Client: &http.Client{Transport: transport}},
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- e.Run(ctx) }()
	t.Cleanup(func() { cancel(); <-done })

	list := func() (all []status.Shard) {
		for _, n := range e.AppendShards(nil) {
			all = append(all, status.Shard{ID: n.ID, State: n.State.String(), Since: time.Since(n.Since).Seconds(), Cause: n.Cause, Code: int(n.Code)})
		}
		return all
	}
	s := new(shown)
	s.serve(t, page.Options{Shards: list, Logs: logs, Period: 50 * time.Millisecond, Summary: func() *status.Status {
		d := &status.Status{Version: status.Version, At: time.Now()}
		d.Health.Live = true
		d.Broker = status.Broker{Type: "stdio", Available: true}
		d.Shards.Count = e.Status().Shards
		for _, n := range list() {
			d.Shards.Run++
			if n.State == engine.Ready.String() {
				d.Shards.Ready++
			}
		}
		d.Health.Ready = d.Shards.Ready == 4
		return d
	}})
	p := openTab(t, browser(t), s.url, desktop)
	p.says("#legend", "4 ready")
	p.do(chromedp.SetValue(chromedp.CSS("#find-id"), "2"), chromedp.Focus(chromedp.CSS("#find-id")))
	p.press(kb.Enter)
	p.says("#story", "ready for")
	// It may be ready again before the page has been drawn.
	value[any](p, `window.states = new Set(); new MutationObserver(() => states.add(document.querySelector("#story .tag")?.textContent)).observe(document.getElementById("story"), {childList: true, subtree: true}), 0`)
	for end := time.Now().Add(patience); !value[bool](p, "[...states].some((s) => s && s !== 'ready')"); {
		if time.Now().After(end) {
			t.Fatal("the page does not show that shard 2 is cut")
		}
		srv.Cut(2, true)
		time.Sleep(200 * time.Millisecond)
	}
	p.says("#legend", "4 ready")
	p.says("#story", "ready for")
	p.says("#lines", "shard=2")
	p.shoot("engine")
	p.quiet()
}
