// This file observes the gateway as its operators would: Prometheus, a browser with the page open, and
// somebody with gateway top.

package load

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"sluice/bench/report"
	"sluice/sinks/sinktest"
)

const (
	scraper = iota // scrapes
	browser        // messages of the page's stream
	top            // reads of what it draws
	numObservers
)

var observerFigures = [numObservers]string{"scrapes", "page_messages", "top_redraws"}

// observers look at a gateway until they are stopped.
type observers struct {
	seenBy [numObservers]atomic.Int64
	top    *exec.Cmd
	cancel context.CancelFunc
	done   sync.WaitGroup

	mu  sync.Mutex
	err error // the first one
}

// serves has the gateway serve what it can. It is called before the start.
func (p *process) serves() (err error) {
	if p.served, err = sinktest.Address(); err != nil {
		return err
	}
	if p.scrape, err = sinktest.Address(); err != nil {
		return err
	}
	p.cmd.Env = append(p.cmd.Env, "HTTP_ADDRESS="+p.served, "PROMETHEUS_ADDRESS="+p.scrape)
	return nil
}

// observe starts observers of the process.
func (p *process) observe(ctx context.Context) (*observers, error) {
	person, program, err := openTerminal(160, 50)
	if err != nil {
		return nil, err
	}
	defer program.Close()
	o := &observers{top: exec.Command(p.cmd.Path, "top", "-address", p.served)}
	o.top.Env = []string{"HOME=" + os.Getenv("HOME"), "TERM=xterm-256color"}
	o.top.Stdin, o.top.Stdout, o.top.Stderr = program, program, program
	o.top.SysProcAttr = ownGroup()
	if err := o.top.Start(); err != nil {
		person.Close()
		return nil, fmt.Errorf("load: start gateway top: %w", err)
	}
	ctx, o.cancel = context.WithCancel(ctx)
	o.watch(ctx, func() error { return o.scrapes(ctx, "http://"+p.scrape+"/metrics") })
	o.watch(ctx, func() error { return o.browses(ctx, "http://"+p.served) })
	o.watch(ctx, func() error { return o.sits(person) })
	return o, nil
}

// watch runs an observer, and keeps the error with which it ends before it is told to.
func (o *observers) watch(ctx context.Context, f func() error) {
	o.done.Go(func() {
		err := f()
		if ctx.Err() != nil || err == nil {
			return
		}
		o.mu.Lock()
		defer o.mu.Unlock()
		if o.err == nil {
			o.err = err
		}
	})
}

// scrapes does what Prometheus does, with compression, each second.
func (o *observers) scrapes(ctx context.Context, url string) error {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		body, err := get(ctx, url)
		if err == nil {
			_, err = io.Copy(io.Discard, body)
			body.Close()
		}
		if err != nil {
			return fmt.Errorf("scrape: %w", err)
		}
		o.seenBy[scraper].Add(1)
		select {
		case <-tick.C:
		case <-ctx.Done():
			return nil
		}
	}
}

// browses does what a browser does that has the page open.
func (o *observers) browses(ctx context.Context, base string) error {
	for _, path := range []string{"/", "/page/stream"} {
		body, err := get(ctx, base+path)
		if err != nil {
			return fmt.Errorf("page: %w", err)
		}
		lines := bufio.NewReaderSize(body, 64<<10)
		for err == nil {
			var line []byte
			if line, err = lines.ReadSlice('\n'); strings.HasPrefix(string(line), "event: ") {
				o.seenBy[browser].Add(1)
			}
			if err == bufio.ErrBufferFull {
				err = nil
			}
		}
		body.Close()
		if err != io.EOF {
			return fmt.Errorf("page: %w", err)
		}
	}
	return io.ErrUnexpectedEOF
}

// sits reads what gateway top draws.
func (o *observers) sits(person *os.File) error {
	defer person.Close()
	screen := make([]byte, 64<<10)
	for {
		n, err := person.Read(screen)
		if err != nil { // EIO: the program has ended
			return fmt.Errorf("gateway top: %w", err)
		}
		if n > 0 {
			o.seenBy[top].Add(1)
		}
	}
}

func get(ctx context.Context, url string) (io.ReadCloser, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, err
	}
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		return nil, err
	}
	if resp.StatusCode != http.StatusOK {
		resp.Body.Close()
		return nil, fmt.Errorf("%s: %s", url, resp.Status)
	}
	return resp.Body, nil
}

// counts returns what each observer has seen so far.
func (o *observers) counts() (n [numObservers]int64) {
	for i := range n {
		n[i] = o.seenBy[i].Load()
	}
	return n
}

// seen notes what the observers have seen in the window. It is an error if one has seen nothing: then the
// gateway was not observed.
func (o *observers) seen(out *report.Run, before [numObservers]int64) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.err != nil {
		return o.err
	}
	for i, n := range o.counts() {
		out.Figures[observerFigures[i]] = float64(n - before[i])
		if n == before[i] {
			return fmt.Errorf("no %s in the window", strings.ReplaceAll(observerFigures[i], "_", " "))
		}
	}
	return nil
}

// stop ends the observers.
func (o *observers) stop() {
	o.cancel()
	signalGroup(o.top.Process.Pid, syscall.SIGKILL)
	o.top.Wait() // killed
	o.done.Wait()
}
