//go:build unix

// This file tests turns to identify that processes share which are no fleet.

package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/gobwas/ws"
	"github.com/gobwas/ws/wsutil"

	"sluice/bench/sim"
	"sluice/sinks/sinktest"
	"sluice/sinks/sinktest/redistest"
)

// sharesTurns are the shards of a test, in two buckets.
const sharesTurns = 4

// startOther asks for a turn and identifies, as a client of another program does: connected before as twilight is, or
// after. It ends with ctx.
func startOther(ctx context.Context, t *testing.T, srv *sim.Server, queue string, shard int, before bool) {
	dial := func() (read func() bool, write func(text string)) {
		conn, began, _, err := ws.Dial(ctx, srv.GatewayURL()+"/?v=10&encoding=json")
		if err != nil {
			t.Errorf("shard %d: %v", shard, err)
			return nil, nil
		}
		context.AfterFunc(ctx, func() { conn.Close() })
		in := io.Reader(conn)
		if began != nil { // with what came behind the handshake
			in = began
		}
		from := struct {
			io.Reader
			io.Writer
		}{in, conn}
		return func() bool { _, _, err := wsutil.ReadServerData(from); return err == nil },
			func(text string) { wsutil.WriteClientText(conn, []byte(text)) }
	}
	var read func() bool
	var write func(string)
	if before {
		if read, write = dial(); read == nil {
			return
		}
		read() // HELLO
	}
	r, _ := http.NewRequestWithContext(ctx, "GET", fmt.Sprintf("http://%s/?shard=%d", queue, shard), nil)
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Errorf("shard %d: %v", shard, err)
		return
	}
	body, _ := io.ReadAll(answer.Body)
	answer.Body.Close()
	var said struct{ Message string }
	if answer.StatusCode != 200 || json.Unmarshal(body, &said) != nil || said.Message == "" {
		t.Errorf("shard %d: %s: %q", shard, answer.Status, body)
		return
	}
	if !before {
		if read, write = dial(); read == nil {
			return
		}
	}
	write(fmt.Sprintf(`{"op":2,"d":{"token":"sim-token","intents":1,"properties":{},"shard":[%d,%d]}}`, shard, sharesTurns))
	for read() {
	}
}

// Two processes, of which one uses the turns of the other, and clients of other programs, some with the ids of shards
// of these, share the buckets: no two Identifies of one are nearer than Discord allows. The turns are those of a process
// alone, or of a fleet, of which each member is asked.
func TestSharedTurns(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name  string
		fleet bool
	}{{"alone", false}, {"fleet", true}} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			srv := startSim(t, sim.Options{Shards: sharesTurns, MaxConcurrency: 2})
			gateway := buildGateway(t)
			queues := []string{sinktest.FreeAddress(t), sinktest.FreeAddress(t)}
			count := fmt.Sprint("DISCORD_SHARD_COUNT=", sharesTurns)
			var own []string // environments of those whose turns are shared
			if tt.fleet {
				redis := redistest.Start(t)
				for i, q := range queues {
					own = append(own, fmt.Sprintf("FLEET_MEMBER=m%d IDENTIFY_ADDRESS=%s BROKER_TYPE=redis REDIS_URL=%s DISCORD_SHARD_IDS=auto %s", i, q, redis.Addr, count))
				}
			} else {
				own = append(own, "DISCORD_SHARD_IDS=0-1 IDENTIFY_ADDRESS="+queues[0]+" "+count)
				queues[1] = queues[0]
			}
			for _, env := range own {
				startGateway(t, setup{name: gateway}, srv, strings.Fields(env)...)
			}
			user := startGateway(t, setup{name: gateway}, srv, "DISCORD_SHARD_IDS=2-3", "IDENTIFY_QUEUE=http://"+queues[0], count)
			for _, q := range queues {
				waitFor(t, "the service", func() bool {
					resp, err := http.Get("http://" + q + "/")
					if err == nil {
						resp.Body.Close()
					}
					return err == nil && resp.StatusCode == 400
				})
			}
			others := []int{0, 1, 0}
			ctx, stop := context.WithCancel(t.Context())
			var clients sync.WaitGroup
			for i, shard := range others {
				clients.Go(func() { startOther(ctx, t, srv, queues[i%2], shard, i%2 == 0) })
			}
			want := 4 + len(others) // those of the gateways: 0 to 3
			if tt.fleet {
				want += 2 // all four are the fleet's, too
			}
			waitFor(t, "sessions", func() bool { return srv.Ledger().Summary().Sessions >= want })
			stop()
			clients.Wait()
			ids := srv.Ledger().Identifies()
			slices.SortFunc(ids, func(a, b sim.Identify) int { return a.Time.Compare(b.Time) })
			last := make(map[int]time.Time)
			for _, id := range ids {
				if at, any := last[id.Bucket]; any && id.Time.Sub(at) < 5*time.Second || id.Outcome != "ready" {
					t.Errorf("shard %d identifies %v after the last of its bucket: %s", id.Shard, id.Time.Sub(at), id.Outcome)
				}
				last[id.Bucket] = id.Time
			}
			if len(ids) != want {
				t.Errorf("%d Identifies, not %d", len(ids), want)
			}
			if log := user.stderr.String(); strings.Contains(log, "identify turn lost") {
				t.Errorf("it logs\n%s", log)
			}
		})
	}
}

// Without the service no Identify is sent. A turn whose answer has waited to be read, as the process was stopped, is not
// used: another is asked for.
func TestIdentifyQueue(t *testing.T) {
	t.Parallel()
	srv := startSim(t, sim.Options{Shards: 1})
	var asked atomic.Int32
	answers := make(chan int)
	queue := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.RequestURI() != "/?shard=0" {
			t.Errorf("asked for %s", r.URL)
		}
		asked.Add(1)
		select {
		case code := <-answers:
			w.WriteHeader(code)
		case <-r.Context().Done():
		}
	}))
	t.Cleanup(queue.Close) // when the program has ended
	p := startGateway(t, setup{name: buildGateway(t)}, srv, "IDENTIFY_QUEUE="+queue.URL)
	identifies := func() int { return len(srv.Ledger().Identifies()) }
	waitFor(t, "a question", func() bool { return asked.Load() == 1 })
	answers <- 503
	waitFor(t, "another", func() bool { return asked.Load() == 2 })
	if !strings.Contains(p.stderr.String(), "no turn from identify.queue") {
		t.Errorf("it logs\n%s", p.stderr.tail())
	}
	p.pause()
	answers <- 200
	time.Sleep(2 * time.Second) // a stop has to last
	if err := p.cmd.Process.Signal(syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
	waitFor(t, "another", func() bool { return asked.Load() == 3 || identifies() > 0 })
	if n := identifies(); n > 0 {
		t.Fatalf("%d Identifies without a fresh turn", n)
	}
	answers <- 204
	waitFor(t, "the Identify", func() bool { return identifies() == 1 })
	p.terminate()
	p.exit(0)
	if asked.Load() != 3 {
		t.Errorf("asked %d times", asked.Load())
	}
}

// pause stops the program, and returns when all its threads stand still: kill returns before.
func (p *program) pause() {
	p.t.Helper()
	if err := p.cmd.Process.Signal(syscall.SIGSTOP); err != nil {
		p.t.Fatal(err)
	}
	var status syscall.WaitStatus
	for {
		if _, err := syscall.Wait4(p.cmd.Process.Pid, &status, syscall.WUNTRACED, nil); err == syscall.EINTR {
			continue
		} else if err != nil || !status.Stopped() {
			p.t.Fatalf("it does not stop: %v, %#x", err, status)
		}
		return
	}
}
