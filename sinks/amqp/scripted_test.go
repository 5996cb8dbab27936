// This file tests the sink against a broker that does one thing wrong, always the same.

package amqp

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"sluice/sinks"
)

// scripted is a broker that answers requests as it should, unless script does. script is
// called with each method that comes, and on nothing for a message that is complete; it
// writes with send, and reports whether that was the answer.
type scripted struct {
	url         string
	connections atomic.Int64
}

// methodFunc answers a method, or a message on channel (method 0), of the connection n.
type methodFunc func(n int64, channel uint16, method uint32, send func(channel uint16, method uint32, args string)) bool

func newScripted(t *testing.T, script methodFunc) *scripted {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &scripted{url: "amqp://" + l.Addr().String()}
	var serving sync.WaitGroup
	serving.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			n := s.connections.Add(1)
			serving.Go(func() { serveScripted(conn, n, script) })
		}
	})
	t.Cleanup(func() { l.Close(); serving.Wait() })
	return s
}

func serveScripted(conn net.Conn, n int64, script methodFunc) {
	defer conn.Close()
	if _, err := io.ReadFull(conn, make([]byte, 8)); err != nil {
		return
	}
	var writing sync.Mutex
	send := func(channel uint16, method uint32, args string) {
		writing.Lock()
		defer writing.Unlock()
		payload := append(binary.BigEndian.AppendUint32(nil, method), args...)
		conn.Write(endFrame(append([]byte{frameMethod, byte(channel >> 8), byte(channel), 0, 0, 0, 0}, payload...), 0))
	}
	if !script(n, 0, 10<<16|10, send) {
		send(0, 10<<16|10, "\x00\x09"+"\x00\x00\x00\x00"+"\x00\x00\x00\x05PLAIN"+"\x00\x00\x00\x05en_US")
	}
	done := make(chan struct{})
	defer close(done)
	go func() { // heartbeats
		for tick := time.NewTicker(200 * time.Millisecond); ; {
			select {
			case <-tick.C:
				writing.Lock()
				conn.Write([]byte(heartbeat))
				writing.Unlock()
			case <-done:
				tick.Stop()
				return
			}
		}
	}()
	head := make([]byte, frameHead)
	for {
		if _, err := io.ReadFull(conn, head); err != nil {
			return
		}
		payload := make([]byte, binary.BigEndian.Uint32(head[3:])+1)
		if _, err := io.ReadFull(conn, payload); err != nil {
			return
		}
		channel := binary.BigEndian.Uint16(head[1:])
		switch head[0] {
		case frameBody:
			script(n, channel, 0, send)
		case frameMethod:
			method := binary.BigEndian.Uint32(payload)
			if script(n, channel, method, send) {
				break
			}
			switch method {
			case 60<<16 | 20: // consume: with the consumer's tag
				queue, _ := shortString(payload[6:])
				tag, _ := shortString(payload[7+len(queue):])
				send(channel, method+1, short(tag))
			case 50<<16 | 10:
				send(channel, method+1, "\x00\x00\x00\x00\x00\x00\x00\x00\x00")
			case 50<<16 | 20, 60<<16 | 10, 20<<16 | 40:
				send(channel, method+1, "")
			default:
				if answer, ok := fakeReplies[method]; ok {
					send(channel, binary.BigEndian.Uint32([]byte(answer)), answer[4:])
				}
			}
		}
	}
}

func short(s string) string { return string(append([]byte{byte(len(s))}, s...)) }

// ackOf confirms the message with that tag.
func ackOf(tag uint64, multiple byte) string {
	return string(append(binary.BigEndian.AppendUint64(nil, tag), multiple))
}

// closing are the arguments of a channel.close for a message.
func closing(code uint16, text string) string {
	return string(binary.BigEndian.AppendUint16(nil, code)) + short(text) + "\x00\x3c\x00\x28"
}

// logTo returns a logger that writes the problem of an error behind it.
func logTo(w io.Writer) *slog.Logger {
	return slog.New(slog.NewTextHandler(w, &slog.HandlerOptions{ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
		var known *Error
		if err, ok := a.Value.Any().(error); ok && errors.As(err, &known) {
			a.Value = slog.StringValue(err.Error() + problemText(known.Problem))
		}
		return a
	}}))
}

func problemText(p Problem) string { return fmt.Sprintf("(problem %d)", p) }

// sinkOf returns a sink for a broker, with a log, and what Publish is given.
func sinkOf(t *testing.T, url string, o Options, change func(*Sink)) (s *Sink, log *syncLog, acked *atomic.Int64) {
	t.Helper()
	log, acked = new(syncLog), new(atomic.Int64)
	o.URLs, o.Log, o.Heartbeat = []string{url}, logTo(log), 2*time.Second
	s, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	if change != nil {
		change(s)
	}
	t.Cleanup(func() {
		s.Close()
		if t.Failed() {
			t.Logf("%+v\n%.4000s", s.Status(), log)
		}
	})
	events := make([]sinks.Event, 10)
	for i := range events {
		events[i] = sinks.Event{Type: []byte("A"), Data: []byte(`"0123456789"`), Session: "s", Seq: int64(i + 1)}
	}
	if err := s.Publish(t.Context(), events, func(n int) { acked.Add(int64(n)) }); err != nil {
		t.Fatal(err)
	}
	return s, log, acked
}

type syncLog struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (l *syncLog) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(b)
}

func (l *syncLog) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.String()
}

func (l *syncLog) count(part string) int { return strings.Count(l.String(), part) }

func waitUntil(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); !ok(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("waited for: %s", what)
		}
	}
}

// TestRefusals has a broker refuse the first messages in ways that are not an event's fault,
// often enough for one that is. None is set aside, and all are published in the end.
func TestRefusals(t *testing.T) {
	t.Parallel()
	const refused = 5
	for _, tt := range []struct {
		name, want string // in the log
		code       uint16
		text       string
	}{
		{"not found", problemText(ExchangeDeleted), 404, "NOT_FOUND - no exchange 'gateway' in vhost '/'"},
		{"access refused", problemText(NoWrite), 403, "ACCESS_REFUSED - access to exchange 'gateway' refused"},
		{"precondition", "of a plugin", 406, "PRECONDITION_FAILED - of a plugin"},
		{"another size", "message size", 406, "PRECONDITION_FAILED - message size 1001 is larger than configured max size 1000"},
		{"a larger limit", "message size", 406, "PRECONDITION_FAILED - message size 13 is larger than configured max size 1000"},
		{"no size", "message size", 406, "PRECONDITION_FAILED - message size"},
		{"content too large", "CONTENT_TOO_LARGE", 311, "CONTENT_TOO_LARGE"},
		{"resource error", "RESOURCE_ERROR", 506, "RESOURCE_ERROR"},
		{"unknown", "hm", 999, "hm"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			var mu sync.Mutex
			messages := make(map[int64]uint64)
			b := newScripted(t, func(n int64, channel uint16, method uint32, send func(uint16, uint32, string)) bool {
				mu.Lock()
				defer mu.Unlock()
				if method != 0 {
					return false
				}
				messages[n]++
				if n <= refused {
					if messages[n] == 1 {
						send(channel, 20<<16|40, closing(tt.code, tt.text))
					}
				} else {
					send(channel, 60<<16|80, ackOf(messages[n], 0))
				}
				return true
			})
			_, log, acked := sinkOf(t, b.url, Options{DeadLetter: func(*sinks.Event, error) error { t.Error("an event is dead-lettered"); return nil }}, nil)
			waitUntil(t, "all events", func() bool { return acked.Load() == 10 })
			if n := log.count("unavailable; buffering events"); n != 1 {
				t.Errorf("%d lines in a minute", n)
			}
			if log.count(tt.want) == 0 {
				t.Errorf("the log does not say what happened")
			}
		})
	}
}

// TestImpossible has a broker answer what can't be true, once, and be right on the next
// connection: the log says so, and nothing of it counts.
func TestImpossible(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name, want string
		method     uint32
		args       string
	}{
		{"an ack far ahead", "not sent", 60<<16 | 80, ackOf(1<<40, 1)},
		{"an ack of tag 0", "not sent", 60<<16 | 80, ackOf(0, 0)},
		{"a nack far ahead", "not sent", 60<<16 | 120, ackOf(1<<63, 1)},
		{"the last tag", "not sent", 60<<16 | 80, ackOf(1<<64-1, 1)},
		{"a method of consumers", "60.60", 60<<16 | 60, "\x00" + ackOf(1, 0) + "\x00\x00"},
		{"a method of clients", "60.40", 60<<16 | 40, "\x00\x00\x00\x00\x00"},
		{"an ack cut short", "cut short", 60<<16 | 80, "\x00"},
		{"a close cut short", "cut short", 20<<16 | 40, "\x01"},
		{"a flow cut short", "cut short", 20<<16 | 20, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			var mu sync.Mutex
			messages := make(map[int64]uint64)
			b := newScripted(t, func(n int64, channel uint16, method uint32, send func(uint16, uint32, string)) bool {
				mu.Lock()
				defer mu.Unlock()
				if method != 0 {
					return false
				}
				messages[n]++
				if n > 1 {
					send(channel, 60<<16|80, ackOf(messages[n], 0))
				} else if messages[n] == 1 {
					send(channel, tt.method, tt.args)
				}
				return true
			})
			s, log, acked := sinkOf(t, b.url, Options{DeadLetter: func(*sinks.Event, error) error { t.Error("an event is dead-lettered"); return nil }}, nil)
			waitUntil(t, "all events", func() bool { return acked.Load() == 10 })
			if log.count(tt.want) != 1 || log.count("does not keep to AMQP") != 1 {
				t.Errorf("the log does not say once what happened")
			}
			if st := s.Status(); st.Connections != 2 || st.Published != 10 || st.Resent == 0 {
				t.Errorf("%+v", st)
			}
		})
	}
}

// TestNothing has brokers that take nothing, or confirm nothing, for ever: the log says so
// again and again.
func TestNothing(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name, want string
		method     uint32
		own        bool
		args       string
		again      uint32 // which ends it
		againArgs  string
	}{
		{"no confirms", "confirms nothing", 0, false, "", 0, ""},
		{"blocked", "still blocked", 10<<16 | 60, false, short("low on memory"), 10<<16 | 61, ""},
		{"flow", "still blocked", 20<<16 | 20, true, "\x00", 20<<16 | 20, "\x01"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			var mu sync.Mutex
			var messages uint64
			var flowOks atomic.Int64
			var over bool
			var channelOf uint16
			var sender func(uint16, uint32, string)
			b := newScripted(t, func(n int64, channel uint16, method uint32, send func(uint16, uint32, string)) bool {
				mu.Lock()
				defer mu.Unlock()
				sender = send
				switch {
				case method == 20<<16|21:
					flowOks.Add(1)
					return true
				case method == 85<<16|10 && tt.method != 0:
					channelOf = channel
					send(channel, 85<<16|11, "")
					if !tt.own {
						channel = 0
					}
					send(channel, tt.method, tt.args)
					return true
				case method != 0:
					return false
				}
				channelOf = channel
				if messages++; over {
					send(channel, 60<<16|80, ackOf(messages, 1))
				}
				return true
			})
			s, log, acked := sinkOf(t, b.url, Options{}, func(s *Sink) { s.stuckAfter = 10 * time.Millisecond })
			waitUntil(t, "three lines", func() bool { return log.count(tt.want) >= 3 })
			if tt.own {
				waitUntil(t, "flow-ok", func() bool { return flowOks.Load() == 1 })
			}
			mu.Lock()
			over = true
			if messages > 0 { // which may have come before they were to stop
				sender(channelOf, 60<<16|80, ackOf(messages, 1))
			}
			if tt.own {
				sender(channelOf, tt.again, tt.againArgs)
			} else if tt.again != 0 {
				sender(0, tt.again, tt.againArgs)
			}
			mu.Unlock()
			waitUntil(t, "all events", func() bool { return acked.Load() == 10 })
			if s.Status().Connections > 1 {
				t.Errorf("%+v", s.Status())
			}
		})
	}
}

// TestHandshake has brokers that offer odd bounds, which must do, and brokers that break off,
// which is not to be taken for a wrong password.
func TestHandshake(t *testing.T) {
	t.Parallel()
	tune := func(channels uint16, frame uint32, heartbeat uint16) string {
		b := binary.BigEndian.AppendUint16(nil, channels)
		b = binary.BigEndian.AppendUint32(b, frame)
		return string(binary.BigEndian.AppendUint16(b, heartbeat))
	}
	for _, args := range []string{tune(0, 0, 0), tune(1, 1, 1), tune(65535, 1<<32-1, 65535), tune(2, 4096, 0)} {
		t.Run(fmt.Sprintf("%x", args), func(t *testing.T) {
			t.Parallel()
			var messages atomic.Uint64
			b := newScripted(t, func(_ int64, channel uint16, method uint32, send func(uint16, uint32, string)) bool {
				switch method {
				case 10<<16 | 11:
					send(0, 10<<16|30, args)
					return true
				case 0:
					send(channel, 60<<16|80, ackOf(messages.Add(1), 0))
				}
				return false
			})
			_, _, acked := sinkOf(t, b.url, Options{}, nil)
			waitUntil(t, "all events", func() bool { return acked.Load() == 10 })
		})
	}
	for _, at := range []uint32{10<<16 | 10, 10<<16 | 11, 10<<16 | 40, 20<<16 | 10, 40<<16 | 10, 85<<16 | 10} {
		t.Run(fmt.Sprintf("%d.%d", at>>16, at&0xffff), func(t *testing.T) {
			t.Parallel()
			b := newScripted(t, func(_ int64, channel uint16, method uint32, send func(uint16, uint32, string)) bool {
				if method == at {
					send(channel, 50<<16|11, "\x00\x00\x00\x00\x00\x00\x00\x00\x00") // of queue.declare
				}
				return method == at
			})
			s, err := New(Options{URLs: []string{b.url}})
			if err != nil {
				t.Fatal(err)
			}
			defer s.Close()
			err = s.Open(t.Context())
			if err == nil || errors.As(err, new(*ConfigError)) || !strings.Contains(err.Error(), "does not keep to AMQP") {
				t.Errorf("%v", err)
			}
		})
	}
}

// TestReader has brokers that stop or fill what reads commands in amqp091-go, were it not
// for the guard: the connection is given up, and the next one works.
func TestReader(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name, want string
		attack     func(channel uint16, send func(uint16, uint32, string))
	}{
		{"a reply that nobody asked for", "nobody asked", func(channel uint16, send func(uint16, uint32, string)) { send(channel, 60<<16|11, "") }},
		{"the same on channel 0", "nobody asked", func(_ uint16, send func(uint16, uint32, string)) { send(0, 10<<16|41, "\x00") }},
		{"an unknown channel", "nobody asked", func(_ uint16, send func(uint16, uint32, string)) { send(99, 60<<16|11, "") }},
		{"more than the prefetch", "more than the 16 commands", func(channel uint16, send func(uint16, uint32, string)) {
			for i := range 17 {
				send(channel, 60<<16|60, "\x00"+ackOf(uint64(i+1), 0)+"\x00\x00")
			}
		}},
		{"a confirm of all", "confirms message", func(channel uint16, send func(uint16, uint32, string)) { send(channel, 60<<16|80, ackOf(1<<64-1, 1)) }},
		{"a confirm of nothing", "confirms message", func(channel uint16, send func(uint16, uint32, string)) { send(channel, 60<<16|80, ackOf(0, 1)) }},
		{"too many cancels", "nobody asked", func(channel uint16, send func(uint16, uint32, string)) {
			for range 2 {
				send(channel, 60<<16|30, "\x01?\x01")
			}
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			var attacked, good atomic.Int64
			b := newScripted(t, func(_ int64, channel uint16, method uint32, send func(uint16, uint32, string)) bool {
				if method == 60<<16|20 {
					send(channel, 60<<16|21, "\x00")
					if attacked.Add(1) == 1 {
						tt.attack(channel, send)
					} else {
						good.Add(1)
					}
					return true
				}
				return false
			})
			s, log, _ := sinkOf(t, b.url, Options{Prefetch: 8}, nil)
			ctx, cancel := context.WithCancel(t.Context())
			done := make(chan struct{})
			go func() {
				defer close(done)
				s.commands(ctx, nil, func(c *command) { c.done(nil) })
			}()
			waitUntil(t, "the next connection", func() bool { return good.Load() == 1 })
			waitUntil(t, "the end of the outage", func() bool { return log.count("available again; reading commands") == 1 })
			cancel()
			<-done
			if log.count(tt.want) == 0 || log.count("unavailable; reading no commands") != 1 {
				t.Errorf("the log does not say once what happened")
			}
		})
	}
}
