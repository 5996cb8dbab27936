// This file attacks the program through the connection of its shards: whatever a server sends,
// memory stays near what it was, the heartbeats of the other shards are on time, and their events
// come.

package e2e

import (
	"bytes"
	"cmp"
	"flag"
	"fmt"
	"os"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gobwas/ws"
)

var hostileFor = flag.Duration("hostile", attackFor, "how long each attack of a server lasts")

const (
	// hostileMemory is the most that an attack may add to the program's memory: 64 MiB on an idle
	// machine, where the figures are printed, and half as much again where the garbage
	// collector has to share the processors.
	hostileMemory = 96 << 20
	// sentMemory is the same where the server sends many megabytes, of messages as large as
	// max_message allows: see docs/limits.md.
	sentMemory = 256 << 20
)

// attacks returns what strangers' servers did, and what is of its kind.
func attacks() []attack {
	const whole = 64 << 20
	hello := []byte(`{"t":null,"s":null,"op":10,"d":{"heartbeat_interval":1000}}`)
	helloBomb := packed(zeros(`{"op":10,"d":{"heartbeat_interval":1000,"x":`, whole-200, `}}`))[0]
	readyBomb := zeros(`{"t":"READY","s":1,"op":0,"d":{"session_id":"bomb","guilds":`, whole-200, `}}`)
	anyOrder := zeros(`{"op":0,"d":{"session_id":"bomb","guilds":`, whole-200, `},"t":"READY","s":1}`)
	deep := []byte(`{"t":"READY","s":1,"op":0,"d":` + strings.Repeat("[", 1_000_000) + strings.Repeat("]", 1_000_000) + `}`)
	bombs := packed(hello, readyBomb)
	bombsAnyOrder := packed(hello, anyOrder)
	deeps := packed(hello, deep)
	smallReady := []byte(`{"t":"READY","s":1,"op":0,"d":{"session_id":"bomb","guilds":[]}}`)
	event := zeros(`{"t":"EVENT","s":2,"op":0,"d":`, whole-200, `}`)
	events := packed(hello, smallReady, event)
	// Zeros that go on and on, and of which no end comes.
	endless := packed(make([]byte, whole-(1<<19)))[0]
	endless = endless[:len(endless)-4]
	second := func(messages [][]byte) (hello, ready func(c *hostileConn)) {
		return func(c *hostileConn) { c.raw(messages[0]) }, func(c *hostileConn) {
			for _, m := range messages[1:] {
				if c.raw(m) != nil {
					return
				}
			}
		}
	}
	all := []attack{
		{name: "Hello of millions of elements", compression: "zlib-stream", hello: func(c *hostileConn) { c.raw(helloBomb) }},
		{name: "Hello without an end, and 2,000 messages behind it", compression: "zlib-stream", hello: func(c *hostileConn) {
			c.raw(endless)
			for range 2000 {
				if c.raw([]byte{0}) != nil {
					return
				}
			}
		}},
		{name: "a message without an end", compression: "zlib-stream", ready: func(c *hostileConn) { c.raw(endless[2:]) }},
		{name: "windows of 8 MiB", compression: "zstd-stream", hello: func(c *hostileConn) {
			if c.raw(append([]byte("\x28\xb5\x2f\xfd\x00\x68"), zstdRaw(hello)...)) != nil {
				return
			}
			message := slices.Concat(zstdRaw([]byte(`{"op":11,"d":null,"x":"`)), []byte{0x02, 0x53, 0x07, 'a'}, zstdRaw([]byte(`"}`))) // 60,000 times a
			for range 200 {
				if c.raw(message) != nil {
					return
				}
			}
		}},
		{name: "messages behind Identify without an end", compression: "zlib-stream", memory: sentMemory, ready: func(c *hostileConn) {
			var b bytes.Buffer
			fmt.Fprintf(&b, "%s", endless[2:])
			for c.raw(b.Bytes()) == nil {
				time.Sleep(time.Millisecond)
			}
		}},
		{name: "frames announced and sent in part", compression: "none", memory: sentMemory, ready: func(c *hostileConn) {
			ws.WriteHeader(c.conn, ws.Header{Fin: true, OpCode: ws.OpText, Length: whole})
			for chunk := make([]byte, 256<<10); ; {
				if _, err := c.conn.Write(chunk); err != nil {
					return
				}
				time.Sleep(5 * time.Millisecond)
			}
		}},
		{name: "fragments without an end", compression: "none", memory: sentMemory, ready: func(c *hostileConn) {
			op := ws.OpText
			for chunk := make([]byte, 256<<10); ; op = ws.OpContinuation {
				if ws.WriteFrame(c.conn, ws.NewFrame(op, false, chunk)) != nil {
					return
				}
				time.Sleep(5 * time.Millisecond)
			}
		}},
		{name: "runs of zstd blocks", compression: "zstd-stream", ready: func(c *hostileConn) {
			frame := []byte{0x28, 0xb5, 0x2f, 0xfd, 0x00, 0x40}
			for range 512 { // 128 KiB each
				frame = append(frame, 0x02, 0x00, 0x10, '0')
			}
			for c.raw(frame) == nil {
				frame = bytes.TrimPrefix(frame, []byte{0x28, 0xb5, 0x2f, 0xfd, 0x00, 0x40})
			}
		}},
		{name: "sequence numbers that jump", compression: "none", ready: func(c *hostileConn) {
			c.send(string(smallReady))
			for seq := int64(9e18); c.send(fmt.Sprintf(`{"t":"A","s":%d,"op":0,"d":{}}`, seq)) == nil; seq++ {
				if seq%16 == 0 {
					time.Sleep(10 * time.Millisecond) // some 100,000 a second, of all
				}
			}
		}},
		{name: "READY that cannot be stored", compression: "none", ready: func(c *hostileConn) {
			c.send(`{"t":"READY","s":0,"op":0,"d":{"session_id":"` + strings.Repeat("x", 5000) + `","resume_gateway_url":"wss://` + strings.Repeat("y", 5000) + `"}}`)
		}},
	}
	for _, a := range []struct {
		name     string
		messages [][]byte
	}{
		{"READY of millions of elements", bombs}, {"READY of millions of elements, in another order", bombsAnyOrder},
		{"READY of a million levels", deeps}, {"an event of 64 MiB", events},
	} {
		hello, ready := second(a.messages)
		all = append(all, attack{name: a.name, compression: "zlib-stream", hello: hello, ready: ready})
	}
	return all
}

// zstdRaw is a raw block that is not the last.
func zstdRaw(b []byte) []byte {
	h := len(b) << 3
	return append([]byte{byte(h), byte(h >> 8), byte(h >> 16)}, b...)
}

func TestHostileServer(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("the program's memory is read from /proc")
	}
	name := buildGateway(t)
	for i, a := range attacks() {
		for j, reader := range readers() {
			if !everyReader && j != i%len(readers()) {
				continue
			}
			t.Run(a.name+"/"+reader, func(t *testing.T) {
				t.Parallel()
				attackProgram(t, name, reader, a)
			})
		}
	}
}

func attackProgram(t *testing.T, name, reader string, a attack) {
	h := newHostileServer(t, a)
	p := startGateway(t, setup{name: name, reader: reader, compression: a.compression}, h, "SHARD_STORE_TYPE=memory")
	var good [servedShards]atomic.Int64 // seq of the last event
	read := make(chan struct{})
	go func() { // whole lines, those of the good shards in order
		defer close(read)
		for {
			text, err := p.lines.ReadSlice('\n')
			for err != nil && len(text) == p.lines.Size() { // an event of the attack
				text, err = p.lines.ReadSlice('\n')
			}
			if err != nil {
				break
			}
			if !bytes.HasPrefix(text, []byte(`{"event":"GOOD"`)) {
				continue
			}
			var shard int
			var seq int64
			if _, err := fmt.Sscanf(string(text), `{"event":"GOOD","shard":%d,"seq":%d,`, &shard, &seq); err != nil || shard >= servedShards {
				t.Errorf("%v: %.100s", err, text)
				continue
			}
			// A session begins with READY, which is 1.
			if last := good[shard].Swap(seq); seq != last+1 && seq != 2 {
				t.Errorf("behind seq %d: %.100s", last, text)
			}
		}
	}()
	waitFor(t, "every shard to be ready", func() bool {
		h.mu.Lock()
		defer h.mu.Unlock()
		return len(h.ready) == serverShards
	})
	time.Sleep(300 * time.Millisecond) // what the start has used is given back, or used again
	normal := memoryOf(t, p.cmd.Process.Pid, "VmRSS")
	if err := os.WriteFile(fmt.Sprintf("/proc/%d/clear_refs", p.cmd.Process.Pid), []byte("5"), 0); err != nil {
		t.Fatal(err) // VmHWM begins anew
	}
	h.begin()
	time.Sleep(*hostileFor)
	waitFor(t, "each shard to be attacked, and heartbeats of the others", func() bool {
		n, beats, _ := h.figures()
		return n >= serverShards-servedShards && slices.Min(beats[:]) > 0
	})
	peak := memoryOf(t, p.cmd.Process.Pid, "VmHWM")
	connections, _, pause := h.figures()
	h.end() // or what the attack has the gateway write stands before the last events
	waitFor(t, "the events of the others", func() bool { return [servedShards]int64{good[0].Load(), good[1].Load()} == h.last() })
	p.terminate()
	p.exit(0)
	<-read
	t.Logf("%d connections attacked; memory %.1f MiB, at its peak %.1f more; %v between heartbeats each %v; the last events of the others are %v",
		connections, float64(normal)/(1<<20), float64(peak-normal)/(1<<20), pause.Round(time.Millisecond), hostileBeat, h.last())
	if most := memoryFactor * cmp.Or(a.memory, hostileMemory); peak-normal > most {
		t.Errorf("the attack cost %d MiB", (peak-normal)>>20)
	}
}

// memoryOf returns a figure of a process's status in bytes.
func memoryOf(t *testing.T, pid int, field string) int64 {
	t.Helper()
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(status)) {
		if rest, ok := strings.CutPrefix(line, field+":"); ok {
			kib, err := strconv.ParseInt(strings.Fields(rest)[0], 10, 64)
			if err != nil {
				t.Fatal(err)
			}
			return kib << 10
		}
	}
	t.Fatalf("the process's status has no %s", field)
	return 0
}
