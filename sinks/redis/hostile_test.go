//go:build unix

// This file tests the sink and the reader of commands against a server that answers with whatever
// RESP2 and RESP3 have a form for, and with what they have none for. It is an attacker, with a real
// Redis behind it for what it passes on.

package redis

import (
	"bufio"
	"bytes"
	"context"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"sluice/sinks"
	"sluice/sinks/sinktest/redistest"
)

var (
	hostileFor  = flag.Duration("hostile", hostileTime, "how long the server of TestHostile is hostile; 0: for a few rounds")
	hostileSeed = flag.Uint64("hostile-seed", 1, "the seed of its answers")
)

// attack is what a hostile server does with a command: it answers with these bytes, and
// ends the connection if they are nil. If it passes the command on it answers with what comes back,
// unless there is a reply instead.
type attack func(r *rand.Rand, command []string) (reply []byte, pass bool)

// hostile is a server that attacks, and is honest while its attack is nil.
type hostile struct {
	net.Listener
	to   string
	seed uint64

	mu     sync.Mutex
	attack attack
	cutAt  []byte         // a command with this in it ends its connection,
	last   []byte         // after this reply
	turns  map[string]int // commands that came after a wait, as the first of what was sent together
	conns  map[net.Conn]bool
}

func newHostile(t *testing.T, to string, seed uint64) *hostile {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &hostile{Listener: l, to: to, seed: seed, turns: make(map[string]int), conns: make(map[net.Conn]bool)}
	t.Cleanup(func() { l.Close(); s.cut() })
	go func() {
		for n := uint64(0); ; n++ {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			s.mu.Lock()
			s.conns[conn] = true
			s.mu.Unlock()
			go s.serve(conn, rand.New(rand.NewPCG(seed, n)))
		}
	}()
	return s
}

// cut ends all connections.
func (s *hostile) cut() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for c := range s.conns {
		c.Close()
	}
}

// use sets the attack, and forgets the turns.
func (s *hostile) use(a attack) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.attack = a
	clear(s.turns)
}

func (s *hostile) count(command string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.turns[command]
}

func (s *hostile) serve(conn net.Conn, r *rand.Rand) {
	defer func() {
		conn.Close()
		s.mu.Lock()
		delete(s.conns, conn)
		s.mu.Unlock()
	}()
	up, err := net.Dial("tcp", s.to)
	if err != nil {
		return
	}
	defer up.Close()
	in, back := bufio.NewReaderSize(conn, 1<<20), bufio.NewReader(up)
	for {
		turn := in.Buffered() == 0
		raw, command, err := readCommand(in)
		if err != nil {
			return
		}
		s.mu.Lock()
		a := s.attack
		if turn {
			s.turns[command[0]]++
		}
		end, last := s.cutAt != nil && bytes.Contains(raw, s.cutAt), s.last
		s.mu.Unlock()
		reply, pass := []byte(nil), true
		if end {
			conn.Write(last)
			return
		}
		if a != nil {
			reply, pass = a(r, command)
		}
		if pass {
			if _, err := up.Write(raw); err != nil {
				return
			}
			honest, err := readReply(back, nil)
			if err != nil {
				return
			}
			if reply == nil {
				reply = honest
			}
		}
		if reply == nil {
			return
		}
		if _, err := conn.Write(reply); err != nil {
			return
		}
	}
}

func readCommand(in *bufio.Reader) (raw []byte, command []string, err error) {
	if raw, err = readReply(in, nil); err != nil {
		return nil, nil, err
	}
	parts := bytes.SplitN(raw, []byte("\r\n"), 4) // of which names are enough
	if len(parts) < 3 {
		return nil, nil, io.ErrUnexpectedEOF
	}
	command = append(command, string(parts[2]))
	if len(parts) > 3 {
		rest := bytes.SplitN(parts[3], []byte("\r\n"), 3)
		if len(rest) > 1 {
			command = append(command, string(rest[1]))
		}
	}
	return raw, command, nil
}

// readReply appends a reply of an honest server.
func readReply(in *bufio.Reader, dst []byte) ([]byte, error) {
	line, err := in.ReadBytes('\n')
	if err != nil {
		return nil, err
	}
	dst = append(dst, line...)
	n, _ := strconv.Atoi(string(bytes.TrimRight(line[1:], "\r\n")))
	switch line[0] {
	case '$', '=', '!':
		if n >= 0 {
			at := len(dst)
			dst = append(dst, make([]byte, n+2)...)
			if _, err := io.ReadFull(in, dst[at:]); err != nil {
				return nil, err
			}
		}
	case '%', '|':
		n *= 2
		fallthrough
	case '*', '~', '>':
		for range n {
			if dst, err = readReply(in, dst); err != nil {
				return nil, err
			}
		}
	}
	return dst, nil
}

// words are what strings and errors are made of. None is a type of a key: a server that says, three
// times, that an event's stream refuses it, and then that its key is a list, is to be believed.
var words = []string{
	"", "OK", "PONG", "QUEUED", "abc", "0", "-1", "gap", "part", "position", "offset", "positions", "entry", "data", "SEND", "0-0", "1-1", "99999999999999-1", "none", "stream",
	"ERR upstream failure", "ERR unknown command 'HELLO'", "ERR This instance has cluster support disabled", "ERR Protocol error: invalid bulk length", "NOPROTO sorry",
	"MOVED 1 127.0.0.1:1", "MOVED", "ASK 1 127.0.0.1:1", "ASK", "REDIRECT", "LOADING", "BUSY script", "OOM command", "READONLY replica", "CLUSTERDOWN", "MISCONF", "NOPERM no",
	"NOSCRIPT No matching script.", "NOGROUP none", "BUSYGROUP there", "WRONGTYPE Operation", "NOAUTH", "WRONGPASS", "TRYAGAIN", "MASTERDOWN", "EXECABORT", "UNBLOCKED", "UNKILLABLE",
	"invalidate", "subscribe", "unsubscribe", "message", "s:1", "s:9000000000000000000", "\x00\xff\r", strings.Repeat("x", 5000),
}

// numbers have none in them that counts entries which were not written.
var numbers = []int64{0, 0, -1, -5, 1 << 31, -1 << 31, 1 << 62, -1 << 63}

func word(r *rand.Rand) string { return words[r.IntN(len(words))] }

// anything returns a value of any type, well formed or nearly so.
func anything(r *rand.Rand, depth int) string {
	line := func(s string) string { return strings.NewReplacer("\r", " ", "\n", " ").Replace(s) }
	many := func(head byte, each int) string {
		n := r.IntN(5)
		if depth > 4 && r.IntN(4) > 0 {
			n = 0
		}
		var b strings.Builder
		fmt.Fprintf(&b, "%c%d\r\n", head, n)
		for range n * each {
			b.WriteString(anything(r, depth+1))
		}
		return b.String()
	}
	switch r.IntN(24) {
	case 0:
		return "+" + line(word(r)) + "\r\n"
	case 1, 2:
		return "-" + line(word(r)) + "\r\n"
	case 3, 4:
		return ":" + strconv.FormatInt(numbers[r.IntN(len(numbers))], 10) + "\r\n"
	case 5, 6, 7:
		w := word(r)
		return fmt.Sprintf("$%d\r\n%s\r\n", len(w), w)
	case 8, 9, 10:
		return many('*', 1)
	case 11:
		return many('%', 2)
	case 12:
		return many('~', 1)
	case 13:
		return many('>', 1)
	case 14:
		return many('|', 2) + anything(r, depth+1)
	case 15:
		return []string{"_\r\n", "$-1\r\n", "*-1\r\n", "#t\r\n", "#f\r\n", ",1.5\r\n", ",inf\r\n", ",nan\r\n", "(123456789012345678901234567890\r\n", ".\r\n", "_x\r\n", "#true\r\n"}[r.IntN(12)]
	case 16:
		return "=8\r\ntxt:some\r\n"
	case 17:
		return "!5\r\nERR x\r\n"
	case 18: // lengths
		return string("$*%~>|=!:"[r.IntN(9)]) + []string{"2147483647", "-5", "-2", "9223372036854775807", "99999999999999999999", "", "x", "1048577", "67108865", "?", "-", "+1"}[r.IntN(12)] + "\r\n"
	case 19: // streamed
		return []string{"$?\r\n;4\r\nabcd\r\n;0\r\n", "*?\r\n:0\r\n.\r\n", "%?\r\n.\r\n"}[r.IntN(3)]
	case 20: // deep
		return strings.Repeat("*1\r\n", 1+r.IntN(200)) + ":0\r\n"
	case 21: // what the script answers, as far as it harms nobody who believes it
		return []string{"*0\r\n", "*1\r\n:0\r\n", "*1\r\n$-1\r\n", "*2\r\n:0\r\n$4\r\npart\r\n", "*3\r\n:0\r\n$8\r\nposition\r\n*0\r\n", "*3\r\n:0\r\n$8\r\nposition\r\n*3\r\n$1\r\n0\r\n$7\r\ngarbage\r\n$1\r\nx\r\n",
			"*3\r\n:0\r\n$3\r\ngap\r\n$1\r\n0\r\n", "*3\r\n:0\r\n$6\r\noffset\r\n$3\r\nabc\r\n", "*2\r\n:0\r\n$9\r\npositions\r\n", "*3\r\n:0\r\n$5\r\nentry\r\n$11\r\nWRONGTYPE x\r\n"}[r.IntN(10)]
	case 22: // entries of streams
		id := []string{"1-1", "0-0", "x", "99999999999999-1", "18446744073709551615-18446744073709551615"}[r.IntN(5)]
		stream := []string{"SEND", "0", "foreign", ""}[r.IntN(4)]
		return fmt.Sprintf("%s1\r\n$%d\r\n%s\r\n*1\r\n*2\r\n$%d\r\n%s\r\n%s", []string{"%", "*1\r\n*"}[r.IntN(2)], len(stream), stream, len(id), id,
			[]string{"*2\r\n$4\r\ndata\r\n$2\r\n{}\r\n", "*-1\r\n", "*1\r\n$1\r\na\r\n", "_\r\n"}[r.IntN(4)])
	}
	return []string{"\r\n", "\x00", "HTTP/1.1 400 Bad Request\r\n\r\n", "+\n", "-\r\n", "$4\r\nabcdefgh\r\n", strings.Repeat("x", 100), "+" + strings.Repeat("y", 100_000)}[r.IntN(8)]
}

// mixed attacks half of all commands. What must be for the others to be reached it attacks seldom.
func mixed(r *rand.Rand, command []string) ([]byte, bool) {
	seldom := map[string]bool{"HELLO": true, "CLUSTER": true, "CLIENT": true, "PING": true, "SCRIPT": true}
	if seldom[command[0]] && r.IntN(20) > 0 || r.IntN(2) == 0 {
		return nil, true
	}
	switch r.IntN(10) {
	case 0:
		return nil, false
	case 1: // more than one
		return []byte(anything(r, 0) + anything(r, 0)), false
	case 2, 3, 4: // it is done, and not told
		return []byte(anything(r, 0)), true
	}
	return []byte(anything(r, 0)), false
}

// always has one command answered in one way.
func always(command, reply string) attack {
	return func(_ *rand.Rand, c []string) ([]byte, bool) {
		if c[0] != command {
			return nil, true
		}
		return []byte(reply), false
	}
}

// allowed is how many turns a loop may take in a time.
func allowed(d time.Duration) int { return int(20*d.Seconds()) + 8 }

// A server that answers, cuts and stalls at random costs no event, no loop and no memory.
func TestHostile(t *testing.T) {
	srv := redistest.Start(t)
	events, commands := newHostile(t, srv.Addr, *hostileSeed), newHostile(t, srv.Addr, *hostileSeed+1)
	r := rand.New(rand.NewPCG(*hostileSeed, 2))
	h := start(t, Options{Bot: "bot"}, events.Addr().String())
	w := &commandWorld{t: t, srv: srv}
	option, err := NewClientOption([]string{srv.Addr}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if w.bot, err = Connect(t.Context(), option); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(w.bot.Close)
	if option, err = NewClientOption([]string{commands.Addr().String()}, nil); err != nil {
		t.Fatal(err)
	}
	var mu sync.Mutex
	got := make(map[string]bool)
	ctx, cancel := context.WithCancel(t.Context())
	var reader sync.WaitGroup
	reader.Go(func() {
		ReadCommands(ctx, CommandOptions{Client: option, Group: "gateway", Consumer: "sluice-0", Shards: []int{0, 1}, Timeout: 2 * time.Second,
			Log: slog.New(slog.NewTextHandler(&w.log, nil)), Send: func(_ context.Context, c sinks.Command) error {
				mu.Lock()
				defer mu.Unlock()
				got[string(c.Packet)] = true
				c.Sent()
				return nil
			}})
	})
	t.Cleanup(func() { cancel(); reader.Wait() })

	streams := []string{"A", "B"}
	sent, peak, rounds, phases := 0, uint64(0), 0, 0
	names := []string{"EVALSHA", "HELLO", "CLUSTER", "PING", "SCRIPT", "XREADGROUP", "XGROUP", "XAUTOCLAIM", "XACK", "GET", "SET"}
	end := time.Now().Add(*hostileFor)
	for round := 0; round < 3 || time.Now().Before(end); round++ {
		for range 4 {
			phases++
			command, length := "", time.Duration(100+r.IntN(100))*time.Millisecond
			if *hostileFor > 0 {
				length *= time.Duration(1 + r.IntN(10))
			}
			a := attack(mixed)
			if r.IntN(2) == 0 {
				reply := anything(r, 0)
				command = names[r.IntN(len(names))]
				a = always(command, reply)
				if command == "XACK" && reply[0] == ':' {
					command = "" // as Redis answers: each command is acknowledged, 50 times a second at most
				}
			}
			events.use(a)
			commands.use(a)
			began := time.Now()
			for time.Since(began) < length { // events wait when eight batches do
				batch := make([]sinks.Event, 1+r.IntN(20))
				for i := range batch {
					h.sent++
					batch[i] = sinks.Event{Shard: h.sent % 3, Session: "s", Seq: int64(h.sent), Began: 1, Type: []byte(streams[h.sent%2]), Data: []byte(strconv.Itoa(h.sent))}
				}
				ctx, cancel := context.WithDeadline(t.Context(), began.Add(length))
				if err := h.sink.Publish(ctx, batch, h.ack); err != nil {
					h.sent -= len(batch)
				}
				cancel()
				sent++
				w.add([]string{"0", "1"}[sent%2], rawString(packet(sent)))
				var m runtime.MemStats
				runtime.ReadMemStats(&m)
				peak = max(peak, m.HeapAlloc)
			}
			if command != "" {
				for _, s := range []*hostile{events, commands} {
					n := s.count(command)
					if rounds = max(rounds, n); n > allowed(time.Since(began)) {
						t.Errorf("%d turns of %s in %s", n, command, time.Since(began))
					}
				}
			}
		}
		events.use(nil)
		commands.use(nil)
		h.settled()
		w.wait("commands", func() bool {
			mu.Lock()
			defer mu.Unlock()
			for i := range sent {
				if !got[packet(i+1)] {
					return false
				}
			}
			return true
		})
		if t.Failed() {
			break
		}
	}
	whole(t, srv.Addr, h.sent, streams...)
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(h.aside) > 0 {
		t.Errorf("%d events set aside, the first: %s", len(h.aside), h.aside[0])
	}
	if peak > 400<<20 {
		t.Errorf("%d MiB of memory", peak>>20)
	}
	t.Logf("%d phases, %d events, %d commands, at most %d turns of a command in a phase, %d MiB of memory, %d bytes of log, %+v",
		phases, h.sent, sent, rounds, peak>>20, len(h.log.String())+len(w.log.String()), h.sink.Status())
}
