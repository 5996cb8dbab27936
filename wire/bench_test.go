// This file measures the way of an event through this package, each part beside
// what it is made of.

package wire

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"testing"

	"github.com/gobwas/ws"
	"github.com/klauspost/compress/zlib"
	"github.com/klauspost/compress/zstd"
	"github.com/valyala/fastjson"
)

func BenchmarkEnvelope(b *testing.B) {
	usual := payload(b, "message_create")
	var e Envelope
	if err := ParseEnvelope(usual, &e); err != nil {
		b.Fatal(err)
	}
	another := fmt.Appendf(nil, `{"op":0,"d":%s,"s":3,"t":"MESSAGE_CREATE"}`, e.Data)
	large := fmt.Appendf(nil, `{"t":"GUILD_CREATE","s":3,"op":0,"d":[%s%s]}`, bytes.Repeat(append(e.Data, ','), 1<<20/len(e.Data)), e.Data)
	for _, c := range []struct {
		name string
		msg  []byte
	}{{"usual", usual}, {"large", large}, {"any order", another}} {
		b.Run(c.name, func(b *testing.B) {
			b.ReportAllocs()
			b.SetBytes(int64(len(c.msg)))
			for b.Loop() {
				if err := ParseEnvelope(c.msg, &e); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
	b.Run("fastjson over the whole message", func(b *testing.B) {
		b.ReportAllocs()
		b.SetBytes(int64(len(usual)))
		var p fastjson.Parser
		for b.Loop() {
			v, err := p.ParseBytes(usual)
			if err != nil || v.GetInt("op") != 0 || v.GetInt64("s") != 3 || len(v.GetStringBytes("t")) == 0 {
				b.Fatal(err)
			}
		}
	})
}

// BenchmarkValidLen measures the check of d beside encoding/json's.
func BenchmarkValidLen(b *testing.B) {
	for _, name := range []string{"message_create", "guild_create"} {
		var e Envelope
		if err := ParseEnvelope(payload(b, name), &e); err != nil {
			b.Fatal(err)
		}
		b.Run(name, func(b *testing.B) {
			b.SetBytes(int64(len(e.Data)))
			for b.Loop() {
				if validLen(e.Data) != len(e.Data) {
					b.Fatal("another length")
				}
			}
		})
		b.Run(name+"/json", func(b *testing.B) {
			b.SetBytes(int64(len(e.Data)))
			for b.Loop() {
				if !json.Valid(e.Data) {
					b.Fatal("not valid")
				}
			}
		})
	}
}

func BenchmarkFrameReader(b *testing.B) {
	frame := serverFrame(nil, true, ws.OpBinary, payload(b, "message_create"))
	for _, n := range []int{1, 16} { // messages that arrive at once
		b.Run(fmt.Sprintf("%d at once", n), func(b *testing.B) {
			in := bytes.Repeat(frame, n)
			var r FrameReader
			b.ReportAllocs()
			b.SetBytes(int64(len(frame)))
			for i := 0; b.Loop(); i++ {
				if i%n == 0 {
					r.Advance(copy(r.Space(len(in)), in))
				}
				if _, ok, err := r.Next(); !ok || err != nil {
					b.Fatal(ok, err)
				}
			}
		})
	}
}

func BenchmarkAppendFrame(b *testing.B) {
	msg := payload(b, "message_create")
	buf := make([]byte, 0, 4096)
	b.ReportAllocs()
	b.SetBytes(int64(len(msg)))
	for b.Loop() {
		AppendFrame(buf, ws.OpText, msg, [4]byte{1, 2, 3, 4})
	}
}

// traffic returns a connection's messages, compressed: the first, and many that
// differ as the messages of a channel do. size is the mean one's inflated.
func traffic(b *testing.B, c Compression) (first []byte, packed [][]byte, size int64) {
	s := newCompressor(b, c)
	first = s.message(b, payload(b, "hello"))
	r := rand.New(rand.NewPCG(1, 2))
	usual := payload(b, "message_create")
	for _, part := range []string{`"113000000000000001"`, "lone"} {
		if !bytes.Contains(usual, []byte(part)) {
			b.Fatalf("the payload lacks %s", part)
		}
	}
	for i := range 4096 {
		msg := bytes.Replace(usual, []byte(`"113000000000000001"`), fmt.Appendf(nil, `"%d"`, 113000000000000001+i*7919), 1)
		msg = bytes.Replace(msg, []byte("lone"), fmt.Appendf(nil, "%x %x", r.Uint64(), r.Uint64()), 1)
		msg = bytes.Replace(msg, []byte("00000000"), fmt.Appendf(nil, "%08d", r.IntN(1e8)), 3)
		size += int64(len(msg))
		packed = append(packed, s.message(b, msg))
	}
	return first, packed, size / int64(len(packed))
}

// benchmarkInflater measures a connection that is made anew after 4096 messages.
func benchmarkInflater(b *testing.B, c Compression) {
	first, packed, size := traffic(b, c)
	buf := make([]byte, 0, zstdBlock+4<<10)
	var inf Inflater
	b.ReportAllocs()
	b.SetBytes(size)
	for i := 0; b.Loop(); i++ {
		if i%len(packed) == 0 {
			b.StopTimer()
			if inf != nil {
				inf.Close()
			}
			inf = newInflater(b, c, 0)
			if _, _, err := inf.Inflate(buf, first); err != nil {
				b.Fatal(err)
			}
			b.StartTimer()
		}
		if _, complete, err := inf.Inflate(buf, packed[i%len(packed)]); err != nil || !complete {
			b.Fatal(complete, err)
		}
	}
	reportSize(b, packed)
}

// benchmarkBare measures a decoder over the same stream, which open opens, as a
// stream: without telling its messages apart.
func benchmarkBare(b *testing.B, c Compression, open func(io.Reader) (io.Reader, error)) {
	first, packed, size := traffic(b, c)
	stream := append(first, bytes.Join(packed, nil)...)
	buf := make([]byte, size)
	b.ReportAllocs()
	b.SetBytes(size)
	var r io.Reader // its type is hidden: a *bytes.Reader is decoded in one go
	for i := 0; b.Loop(); i++ {
		if i%len(packed) == 0 {
			b.StopTimer()
			var err error
			if r, err = open(struct{ io.Reader }{bytes.NewReader(stream)}); err != nil {
				b.Fatal(err)
			}
			b.StartTimer()
		}
		if _, err := io.ReadFull(r, buf); err != nil {
			b.Fatal(err)
		}
	}
	reportSize(b, packed)
}

// reportSize reports what a message takes on the wire.
func reportSize(b *testing.B, packed [][]byte) {
	b.ReportMetric(float64(len(bytes.Join(packed, nil)))/float64(len(packed)), "wire-B/msg")
}

func BenchmarkZstd(b *testing.B) {
	b.Run("inflater", func(b *testing.B) { benchmarkInflater(b, CompressionZstd) })
	b.Run("bare decoder", func(b *testing.B) {
		// Made anew, as the inflater is: its memory is touched for the first time.
		benchmarkBare(b, CompressionZstd, func(r io.Reader) (io.Reader, error) { return newBareZstd(r) })
	})
	b.Run("pipe", benchmarkPipe)
}

func newBareZstd(r io.Reader) (*zstd.Decoder, error) {
	return zstd.NewReader(r, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true), zstd.WithDecoderMaxWindow(8<<20))
}

// benchmarkPipe measures what the inflater is not: a goroutine for each
// connection, which decodes what comes through a pipe.
func benchmarkPipe(b *testing.B) {
	first, packed, size := traffic(b, CompressionZstd)
	open := func() (in *io.PipeWriter, out chan int) {
		r, in := io.Pipe()
		out = make(chan int)
		go func() {
			defer close(out)
			dec, err := newBareZstd(r)
			if err != nil {
				b.Error(err)
				return
			}
			defer dec.Close()
			buf := make([]byte, zstdBlock+1)
			for {
				n, err := dec.Read(buf)
				if err != nil {
					r.CloseWithError(err)
					return // the pipe was closed, within the stream
				}
				out <- n
			}
		}()
		return in, out
	}
	in, out := open()
	defer func() {
		in.Close()
		<-out
	}()
	b.ReportAllocs()
	b.SetBytes(size)
	for i := 0; b.Loop(); i++ {
		if i%len(packed) == 0 {
			b.StopTimer()
			in.Close()
			<-out
			in, out = open()
			if _, err := in.Write(first); err != nil {
				b.Fatal(err)
			}
			<-out
			b.StartTimer()
		}
		if _, err := in.Write(packed[i%len(packed)]); err != nil {
			b.Fatal(err)
		}
		if n := <-out; n == 0 {
			b.Fatal("no message")
		}
	}
	reportSize(b, packed)
}

func BenchmarkZlib(b *testing.B) {
	b.Run("inflater", func(b *testing.B) { benchmarkInflater(b, CompressionZlib) })
	b.Run("bare decoder", func(b *testing.B) {
		benchmarkBare(b, CompressionZlib, func(r io.Reader) (io.Reader, error) { return zlib.NewReader(bufio.NewReader(r)) })
	})
	b.Run("payload", func(b *testing.B) { benchmarkInflater(b, CompressionPayload) })
}
