// This file is a server that is not Discord's: it plays the handshake, serves some shards as
// Discord does, and does to the others what an attack says.

package e2e

import (
	"bytes"
	"compress/zlib"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gobwas/ws"
	"github.com/gobwas/ws/wsutil"
)

const (
	serverShards = 64
	servedShards = 2
	hostileBeat  = 2 * time.Second // of the good shards; four without an answer end a connection
)

// attack is what the server does on a connection of a shard that it attacks, after the shard
// was ready once.
type attack struct {
	name string
	// compression that the gateway is to ask for.
	compression string
	// hello comes in the place of Hello, and ready in that of the answer to Identify or Resume;
	// nil: as usual. They send until they have sent all or the connection ends.
	hello, ready func(c *hostileConn)
	// memory is what it may cost; 0: hostileMemory.
	memory int64
}

// hostileServer is the server. After begin its attack is on.
type hostileServer struct {
	attack attack
	http   *http.Server
	addr   string
	on     atomic.Bool

	mu          sync.Mutex
	conns       map[*hostileConn]bool // of shards that are attacked
	connections int                   // that were made while the attack was on
	ready       map[int]bool          // shards that were ready once
	beats       map[int]time.Time     // the last heartbeat of each good shard
	during      [servedShards]int     // of their heartbeats came while the attack was on
	latest      time.Duration         // the longest pause between two of them
	good        [servedShards]*hostileConn
	sent        [servedShards]int64 // seq of the last event on the connection
	silent      bool                // no more of them are sent
}

func newHostileServer(t *testing.T, a attack) *hostileServer {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	h := &hostileServer{attack: a, addr: listener.Addr().String(), conns: map[*hostileConn]bool{}, beats: map[int]time.Time{}, ready: map[int]bool{}}
	mux := http.NewServeMux()
	mux.HandleFunc("/api/v10/gateway/bot", func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, `{"url":"ws://%s","shards":%d,"session_start_limit":{"total":100000,"remaining":100000,"reset_after":1000,"max_concurrency":%d}}`,
			h.addr, serverShards, serverShards)
	})
	mux.HandleFunc("/", h.serve)
	h.http = &http.Server{Handler: mux}
	go h.http.Serve(listener)
	t.Cleanup(func() { h.http.Close(); h.cut() })
	return h
}

func (h *hostileServer) APIURL() string  { return "http://" + h.addr + "/api/v10" }
func (h *hostileServer) CertPEM() []byte { return nil }

// begin cuts the shards that are to be attacked, and attacks them when they come again.
func (h *hostileServer) begin() {
	h.on.Store(true)
	h.cut()
}

func (h *hostileServer) cut() {
	h.mu.Lock()
	defer h.mu.Unlock()
	for c := range h.conns {
		c.conn.Close()
	}
}

// figures returns how many connections were attacked, how many heartbeats of each good shard came
// meanwhile, and the longest pause between two of them.
func (h *hostileServer) figures() (connections int, beats [servedShards]int, latest time.Duration) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, at := range h.beats {
		h.latest = max(h.latest, time.Since(at))
	}
	return h.connections, h.during, h.latest
}

// hostileConn is a connection. It is written to by one goroutine at a time.
type hostileConn struct {
	h      *hostileServer
	conn   net.Conn
	mu     sync.Mutex
	packed bytes.Buffer
	z      *zlib.Writer // nil: not compressed
}

// send sends a payload as the connection's compression has it.
func (c *hostileConn) send(text string) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.z == nil {
		return wsutil.WriteServerText(c.conn, []byte(text))
	}
	c.packed.Reset()
	c.z.Write([]byte(text))
	c.z.Flush()
	return wsutil.WriteServerBinary(c.conn, c.packed.Bytes())
}

// raw sends bytes as a binary message.
func (c *hostileConn) raw(b []byte) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return wsutil.WriteServerBinary(c.conn, b)
}

func (h *hostileServer) serve(w http.ResponseWriter, r *http.Request) {
	conn, _, _, err := ws.UpgradeHTTP(r, w)
	if err != nil {
		return
	}
	defer conn.Close()
	c := &hostileConn{h: h, conn: conn}
	if r.URL.Query().Get("compress") == "zlib-stream" {
		c.z = zlib.NewWriter(&c.packed)
	}
	attacked := h.on.Load()
	h.mu.Lock()
	h.conns[c] = true
	if attacked {
		h.connections++
	}
	h.mu.Unlock()
	defer func() { h.mu.Lock(); delete(h.conns, c); h.mu.Unlock() }()
	if attacked && h.attack.hello != nil {
		go h.attack.hello(c)
	} else if c.send(fmt.Sprintf(`{"t":null,"s":null,"op":10,"d":{"heartbeat_interval":%d}}`, hostileBeat.Milliseconds())) != nil {
		return
	}
	shard := -1
	for {
		text, err := wsutil.ReadClientText(conn)
		if err != nil {
			return
		}
		var p struct {
			Op int
			D  json.RawMessage
		}
		if json.Unmarshal(text, &p) != nil {
			return
		}
		switch p.Op {
		case 1:
			h.beat(shard)
			err = c.send(`{"t":null,"s":null,"op":11,"d":null}`)
		case 2:
			var d struct{ Shard [2]int }
			json.Unmarshal(p.D, &d)
			if shard = d.Shard[0]; attacked && h.attack.ready != nil {
				go h.attack.ready(c)
				continue
			}
			if shard < servedShards {
				h.mu.Lock()
				delete(h.conns, c) // it is not cut
				h.good[shard] = c
				h.mu.Unlock()
			}
			err = c.send(fmt.Sprintf(`{"t":"READY","s":1,"op":0,"d":{"v":10,"session_id":"session-%d","guilds":[]}}`, shard))
			h.mu.Lock()
			h.ready[shard] = true
			h.mu.Unlock()
			if shard < servedShards {
				go h.events(c, shard)
			}
		case 6:
			if attacked && h.attack.ready != nil { // the next Identify would be some seconds away
				go h.attack.ready(c)
				continue
			}
			err = c.send(`{"t":null,"s":null,"op":9,"d":false}`)
		}
		if err != nil {
			return
		}
	}
}

// beat notes a heartbeat.
func (h *hostileServer) beat(shard int) {
	if shard < 0 || shard >= servedShards {
		return
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	now := time.Now()
	if last, ok := h.beats[shard]; ok {
		h.latest = max(h.latest, now.Sub(last))
	}
	h.beats[shard] = now
	if h.on.Load() {
		h.during[shard]++
	}
}

// events sends a good shard an event now and then, for as long as its connection lasts.
func (h *hostileServer) events(c *hostileConn, shard int) {
	for seq := int64(2); ; seq++ {
		time.Sleep(20 * time.Millisecond)
		h.mu.Lock()
		if h.good[shard] != c || h.silent && seq > 2 { // one at least: what was sent before may be lost
			h.mu.Unlock()
			return
		}
		h.sent[shard] = seq
		h.mu.Unlock()
		if c.send(fmt.Sprintf(`{"t":"GOOD","s":%d,"op":0,"d":{"n":%d}}`, seq, seq)) != nil {
			return
		}
	}
}

// end ends the attack, and the events of the good shards.
func (h *hostileServer) end() {
	h.on.Store(false)
	h.cut()
	h.mu.Lock()
	defer h.mu.Unlock()
	h.silent = true
}

// last returns the seq of the last event of each good shard.
func (h *hostileServer) last() [servedShards]int64 {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.sent
}

// zeros is a list of n bytes of zeros, with what stands before and behind it.
func zeros(before string, n int, behind string) []byte {
	return []byte(before + "[" + strings.Repeat("0,", n/2) + "0]" + behind)
}

// packed compresses messages as one zlib stream: each is the next one's beginning.
func packed(messages ...[]byte) (out [][]byte) {
	var b bytes.Buffer
	z := zlib.NewWriter(&b)
	for _, m := range messages {
		b.Reset()
		z.Write(m)
		z.Flush()
		out = append(out, bytes.Clone(b.Bytes()))
	}
	return out
}
