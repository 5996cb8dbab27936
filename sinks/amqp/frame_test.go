// This file tests frames at the bounds of their sizes, and the tap with bytes that
// come and go in any pieces.

package amqp

import (
	"bytes"
	"encoding/binary"
	"io"
	"math/rand/v2"
	"net"
	"testing"
	"time"

	"sluice/sinks"
	"sluice/sinks/window"
)

// heartbeat is a whole frame.
const heartbeat = "\x08\x00\x00\x00\x00\x00\x00\xce"

// frames cuts bytes into frames: their types, and the payloads of the bodies in one.
func frames(t *testing.T, b []byte, frameMax int) (types string, header, body []byte) {
	t.Helper()
	for len(b) > 0 {
		n := int(binary.BigEndian.Uint32(b[3:])) + frameOver
		if frameMax > 0 && n > frameMax {
			t.Fatalf("a frame of %d bytes, and %d are allowed", n, frameMax)
		}
		if channel := binary.BigEndian.Uint16(b[1:]); channel != 0x0102 || b[n-1] != frameEnd {
			t.Fatalf("a frame on channel %#x that ends with %#x", channel, b[n-1])
		}
		types += string('0' + b[0])
		switch b[0] {
		case frameHeader:
			header = b[frameHead : n-1]
		case frameBody:
			body = append(body, b[frameHead:n-1]...)
		}
		b = b[n:]
	}
	return types, header, body
}

func TestFrames(t *testing.T) {
	const frameMax = 4096
	raw := func(dst []byte, ev *sinks.Event) ([]byte, error) { return append(dst, ev.Data...), nil }
	for _, tt := range []struct {
		size, frameMax int
		types          string
	}{
		{0, frameMax, "12"},
		{1, frameMax, "123"},
		{frameMax - 8, frameMax, "123"},
		{frameMax - 7, frameMax, "1233"},
		{2 * (frameMax - 8), frameMax, "1233"},
		{2*(frameMax-8) + 1, frameMax, "12333"},
		{10*(frameMax-8) - 1, frameMax, "123333333333"},
		{100_000, 0, "123"},
	} {
		data := make([]byte, tt.size)
		for i := range data {
			data[i] = byte(rand.Int())
		}
		e := newEncoder(&Options{Exchange: "x", Body: raw}, 0x0102, tt.frameMax)
		b, err := e.append([]byte("before"), &sinks.Event{Type: []byte("A"), Data: data})
		if err != nil || string(b[:6]) != "before" {
			t.Fatal(err)
		}
		types, header, body := frames(t, b[6:], tt.frameMax)
		if types != tt.types || !bytes.Equal(body, data) || binary.BigEndian.Uint64(header[4:]) != uint64(tt.size) {
			t.Errorf("%d bytes with frames of %d: frames %s with %d bytes, header %x", tt.size, tt.frameMax, types, len(body), header)
		}
	}
}

// TestTap has frames of ours and of others come in pieces, and looks at what is
// handed on.
func TestTap(t *testing.T) {
	frame := func(kind byte, channel byte, payload string) string {
		return string(binary.BigEndian.AppendUint32([]byte{kind, 0, channel}, uint32(len(payload)))) + payload + "\xce"
	}
	const tag = "\x00\x00\x00\x00\x00\x00\x00\x05"
	ours := []string{
		frame(frameMethod, 1, "\x00\x3c\x00\x50"+tag+"\x01"),
		frame(frameMethod, 1, "\x00\x3c\x00\x78"+tag+"\x00"),
		frame(frameMethod, 1, "\x00\x3c\x00\x32\x01\x38\x08NO_ROUTE\x01x\x01A") + frame(frameHeader, 1, "header") + frame(frameBody, 1, string(make([]byte, 50_000))),
		frame(frameMethod, 1, "\x00\x14\x00\x28\x01\x96\x04text\x00\x3c\x00\x28"),
	}
	deliver := frame(frameMethod, 2, "\x00\x3c\x00\x3c\x01c"+tag+"\x00\x01x\x01A")
	body := frame(frameBody, 2, string(make([]byte, 40_000)))
	const size = "\x00\x3c\x00\x00\x00\x00\x00\x00\x00\x00\x9c\x40"
	others := []struct{ sent, handedOn string }{
		{frame(frameMethod, 0, "\x00\x0a\x00\x3c\x00"), ""},
		{frame(frameMethod, 0, "\x00\x0a\x00\x32\x00"), frame(frameMethod, 0, "\x00\x0a\x00\x32\x00")},
		// Of the properties the plain ones are kept.
		{deliver + frame(frameHeader, 2, size+"\xf6\x08\x04json\x00\x00\x00\x00\x04\x01hZZ\x02\x02id\x02to\x01u") + body,
			deliver + frame(frameHeader, 2, size+"\x16\x00\x02\x02id\x02to") + body},
		{heartbeat, ""},
	}
	for seed := range uint64(50) {
		rng := rand.New(rand.NewPCG(seed, 2))
		var stream, want []byte
		counts := make([]int, 4)
		for range 40 {
			if rng.IntN(2) == 0 {
				i := rng.IntN(len(ours))
				counts[i]++
				stream = append(stream, ours[i]...)
			} else {
				f := others[rng.IntN(len(others))]
				stream, want = append(stream, f.sent...), append(want, f.handedOn...)
			}
		}
		from, to := net.Pipe()
		go func() {
			for len(stream) > 0 {
				n := min(len(stream), 1+rng.IntN(1<<rng.IntN(16)))
				from.Write(stream[:n])
				stream = stream[n:]
			}
			from.Close()
		}()
		tp := newTap(to, time.Minute)
		tp.own.Store(1)
		tp.guard.asks(2, classChannel<<16|channelOpen)
		tp.guard.channels[2].reply = 0
		tp.guard.allow(40, maxCommand)
		got := make([]int, 4)
		tp.replies = func(replies []window.Reply) error {
			for _, r := range replies {
				switch r {
				case window.Reply{Number: 5, Through: true}:
					got[0]++
				case window.Reply{Number: 5, Refused: true}:
					got[1]++
				default:
					t.Errorf("reply %+v", r)
				}
			}
			return nil
		}
		tp.returned = func() { got[2]++ }
		tp.closed = func(err *closedError) {
			got[3]++
			if *err != (closedError{406, "text", classBasic<<16 | basicPublish}) {
				t.Errorf("closed: %+v", err)
			}
		}
		passed, err := io.ReadAll(tp)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(passed, want) {
			t.Fatalf("seed %d: %d bytes were handed on, want %d", seed, len(passed), len(want))
		}
		for i := range got {
			if got[i] != counts[i] {
				t.Fatalf("seed %d: replies %v, want %v", seed, got, counts)
			}
		}
	}
}

// TestTapWrite has amqp091-go's frames written in pieces, and ours between them.
func TestTapWrite(t *testing.T) {
	from, to := net.Pipe()
	tp := newTap(from, time.Minute)
	read := make(chan []byte)
	go func() {
		b, _ := io.ReadAll(to)
		read <- b
	}()
	open := "\x01\x00\x07\x00\x00\x00\x05\x00\x14\x00\x0a\x00\xce"
	theirs := "AMQP\x00\x00\x09\x01" + heartbeat + open + heartbeat
	want := ""
	for i := range len(theirs) {
		if n, err := tp.Write([]byte(theirs[i : i+1])); n != 1 || err != nil {
			t.Fatal(n, err)
		}
		if err := tp.publish([]byte("<ours>")); err != nil {
			t.Fatal(err)
		}
	}
	if channel := tp.takeOut(); channel != 7 {
		t.Errorf("channel %d was opened, want 7", channel)
	}
	from.Close()
	for i := range len(theirs) {
		switch i + 1 {
		case 8, 16, 16 + len(open), len(theirs):
			want += theirs[len(bytes.ReplaceAll([]byte(want), []byte("<ours>"), nil)) : i+1]
		}
		want += "<ours>"
	}
	if got := string(<-read); got != want {
		t.Errorf("written %q\nwant    %q", got, want)
	}
}
