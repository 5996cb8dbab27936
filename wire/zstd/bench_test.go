// This file measures the decoder beside klauspost's.

package zstd

import (
	"bytes"
	"io"
	"math/rand/v2"
	"testing"

	reference "github.com/klauspost/compress/zstd"
)

func BenchmarkDecode(b *testing.B) {
	r := rand.New(rand.NewPCG(3, 4))
	sized := func(count, size int) (all [][]byte) {
		for range count {
			all = append(all, text(r, size+r.IntN(size/10)))
		}
		return all
	}
	for _, bb := range []struct {
		name     string
		messages [][]byte
	}{{"750 B", sized(4000, 720)}, {"8 KiB", sized(400, 8<<10)}, {"1 MiB", sized(8, 1<<20)}} {
		stream := encode(b, reference.SpeedDefault, bb.messages)
		size := 0
		for _, m := range bb.messages {
			size += len(m)
		}
		b.Run(bb.name+"/ours", func(b *testing.B) {
			b.ReportAllocs()
			b.SetBytes(int64(size / len(stream)))
			dst := make([]byte, 0, 2<<20)
			var d *Decoder
			for i := 0; b.Loop(); i++ {
				if i%len(stream) == 0 {
					d = new(Decoder)
				}
				if _, err := d.Decode(dst, stream[i%len(stream)], 4<<20); err != nil {
					b.Fatal(err)
				}
			}
		})
		b.Run(bb.name+"/klauspost", func(b *testing.B) {
			dec, err := reference.NewReader(nil, reference.WithDecoderConcurrency(1), reference.WithDecoderLowmem(true))
			if err != nil {
				b.Fatal(err)
			}
			defer dec.Close()
			b.ReportAllocs()
			b.SetBytes(int64(size / len(stream)))
			buf := make([]byte, 2<<20)
			all := bytes.Join(stream, nil)
			for i := 0; b.Loop(); i++ {
				if i%len(stream) == 0 {
					// The type is hidden: a *bytes.Reader is decoded in one go.
					if err := dec.Reset(struct{ io.Reader }{bytes.NewReader(all)}); err != nil {
						b.Fatal(err)
					}
				}
				if _, err := io.ReadFull(dec, buf[:len(bb.messages[i%len(stream)])]); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
