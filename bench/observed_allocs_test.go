// This file guards that an event allocates nothing while the gateway is observed.

//go:build !race

package bench

import (
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"runtime"
	"testing"
	"time"

	"sluice/cmd/gateway/config"
	"sluice/cmd/gateway/metrics"
	"sluice/cmd/gateway/status"
	"sluice/cmd/gateway/tap"
	"sluice/engine"
	"sluice/wire"
)

// Somebody taps other events, payloads are counted, and another goroutine makes the metrics, the
// document and the page's shards meanwhile. What that allocates it allocates without events, too: it is
// measured before and left out.
func TestObservedAllocs(t *testing.T) {
	const events, eventsPerLook = 4000, 200
	taken := make(chan int, 1)
	tapped := tap.New(discard{})
	p := startPath(t, engine.ReaderGoroutine, false, wire.CompressionZstd, signalling{tapped, taken}, nil)
	defer p.end()
	<-taken
	viewer := httptest.NewServer(tapped)
	defer viewer.Close()
	ctx, leave := context.WithCancel(t.Context())
	defer leave() // before Close, which waits for the viewer
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, viewer.URL+"?event=TYPING_START", nil)
	if err != nil {
		t.Fatal(err)
	}
	answer, err := http.DefaultClient.Do(request) // there is an empty line at once
	if err != nil || answer.StatusCode != http.StatusOK {
		t.Fatal(answer, err)
	}
	defer answer.Body.Close()

	cfg, problems := config.Load(config.Sources{Environ: []string{"DISCORD_TOKEN=x.y.z"}})
	if problems.Failed() {
		t.Fatal(problems)
	}
	source := &status.Source{Engine: p.engine, Config: cfg, Started: time.Now()}
	scrape := metrics.New(metrics.Source{Engine: p.engine, PacketsMode: metrics.PacketsOn})
	var text []byte
	look := func() {
		text = scrape.Append(text[:0])
		for _, v := range []any{source.Status(), source.Summary(), source.Shards()} {
			if _, err := json.Marshal(v); err != nil {
				t.Error(err)
			}
		}
	}

	frames := make([][]byte, warm+events)
	for i := range frames {
		frames[i] = p.event()
	}
	play := func(frames [][]byte) {
		for _, frame := range frames {
			p.send(frame)
			<-taken
		}
	}
	play(frames[:warm])
	var aLook uint64
	look() // the settings are made once
	for range 20 {
		aLook = max(aLook, mallocs(look))
	}

	looks, looked := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(looked)
		for range looks {
			look()
		}
	}()
	all := mallocs(func() {
		for at := warm; at < len(frames); at += eventsPerLook {
			looks <- struct{}{}
			play(frames[at:min(at+eventsPerLook, len(frames))])
		}
		close(looks)
		<-looked
	})
	own := all - min(all, events/eventsPerLook*aLook)
	t.Logf("a look allocates %d times; %d events with %d looks %d times", aLook, events, events/eventsPerLook, all)
	// As testing.AllocsPerRun rounds: the runtime, too, allocates now and then.
	if own >= events/2 {
		t.Errorf("%d events have allocated %d times beside the looks", events, own)
	}
	if counts := p.engine.Status().Counts; counts.Events != 1+warm+events {
		t.Errorf("%d events are counted of %d", counts.Events, 1+warm+events)
	}
}

// mallocs returns how often the process allocates while f runs.
func mallocs(f func()) uint64 {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	f()
	runtime.ReadMemStats(&after)
	return after.Mallocs - before.Mallocs
}
