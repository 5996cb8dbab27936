// This file measures the decoder beside klauspost's, both in one run and by
// turns, since only their ratio means something.

package zstd

import (
	"bytes"
	"flag"
	"io"
	"math"
	"math/rand/v2"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	kzstd "github.com/klauspost/compress/zstd"
)

// peer is klauspost's streaming decoder, used as one that decodes message by
// message has to use it: a Read for each block.
type peer struct {
	src bytes.Reader
	dec *kzstd.Decoder
}

// peerSource hides the type of the bytes.Reader, which the decoder would take
// for a whole stream.
type peerSource struct{ r *bytes.Reader }

func (s peerSource) Read(p []byte) (int, error) { return s.r.Read(p) }

func newPeer(tb testing.TB) *peer {
	p := new(peer)
	dec, err := kzstd.NewReader(peerSource{&p.src}, kzstd.WithDecoderConcurrency(1), kzstd.WithDecoderLowmem(true),
		kzstd.WithDecoderMaxWindow(DefaultMaxWindow))
	if err != nil {
		tb.Fatal(err)
	}
	p.dec = dec
	return p
}

func (p *peer) decode(dst, msg []byte) ([]byte, error) {
	p.src.Reset(msg)
	for p.src.Len() > 0 {
		dst = slices.Grow(dst, maxBlock+1)
		n, err := p.dec.Read(dst[len(dst):cap(dst)])
		dst = dst[:len(dst)+n]
		if err != nil && err != io.EOF {
			return dst, err
		}
	}
	return dst, nil
}

// workloads are streams, which begin anew when they are over.
func workloads(tb testing.TB) map[string][][]byte {
	r := rand.New(rand.NewPCG(5, 6))
	var guilds, large [][]byte
	for range 16 {
		guilds = append(guilds, guild(r, 20<<10+r.IntN(400<<10)))
	}
	for range 4 {
		large = append(large, guild(r, 1<<20))
	}
	m := map[string][][]byte{}
	for name, messages := range map[string][][]byte{"small": events(r, 4000), "guilds": guilds, "large": large} {
		m[name] = compress(tb, kzstd.SpeedDefault, messages)
	}
	for _, name := range referenceStreams {
		stream, messages := recorded(tb, name)
		check(tb, stream, messages)
		m["reference-"+name] = stream
	}
	m["events"], _ = readStream(tb, recordedEvents)
	return m
}

var libzstd = flag.String("libzstd", "", "measure libzstd as well, with this program (make libzstd)")

// recordedEvents are those of the simulated Discord, in a stream of libzstd's.
const recordedEvents = "../../bench/sim/testdata/events.stream"

// measureLibzstd returns how many nanoseconds libzstd takes for a message of the recorded
// events at best.
func measureLibzstd(tb testing.TB) float64 {
	out, err := exec.Command(*libzstd, "measure", recordedEvents).Output()
	if err != nil {
		tb.Fatal(err)
	}
	ns, err := strconv.ParseFloat(strings.TrimSpace(string(out)), 64)
	if err != nil {
		tb.Fatal(err)
	}
	return ns
}

// BenchmarkDecode does a whole stream at a time with each decoder, and says how
// much time ours takes for a message at best, what the other takes at best, and
// their ratio: other work on the machine makes a pass slower, never faster. With
// the flag, libzstd has its turns at the recorded events.
func BenchmarkDecode(b *testing.B) {
	loads := workloads(b)
	names := make([]string, 0, len(loads))
	for name := range loads {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		stream := loads[name]
		b.Run(name, func(b *testing.B) {
			dst := make([]byte, 0, 4<<20)
			own, other := time.Duration(math.MaxInt64), time.Duration(math.MaxInt64)
			reference := math.Inf(1)
			size := 0
			for b.Loop() {
				var d Decoder
				start := time.Now()
				size = 0
				for _, msg := range stream {
					out, err := d.Decode(dst, msg, noLimit)
					if err != nil {
						b.Fatal(err)
					}
					size += len(out)
				}
				own = min(own, time.Since(start))
				p := newPeer(b)
				start = time.Now()
				for _, msg := range stream {
					if _, err := p.decode(dst, msg); err != nil {
						b.Fatal(err)
					}
				}
				other = min(other, time.Since(start))
				p.dec.Close()
				if name == "events" && *libzstd != "" {
					reference = min(reference, measureLibzstd(b))
				}
			}
			n := float64(len(stream))
			if !math.IsInf(reference, 1) {
				b.ReportMetric(reference, "libzstd-ns/msg")
			}
			b.ReportMetric(float64(own.Nanoseconds())/n, "ns/msg")
			b.ReportMetric(float64(other.Nanoseconds())/n, "klauspost-ns/msg")
			b.ReportMetric(float64(own)/float64(other), "ratio")
			b.ReportMetric(float64(size)/own.Seconds()/1e6, "MB/s")
		})
	}
}

// BenchmarkCold has many decoders take turns, as many connections with little to say do: when
// one's turn comes, its window and tables are no longer in a near cache.
func BenchmarkCold(b *testing.B) {
	stream, _ := recorded(b, "events")
	warm := len(stream) * 4 / 5
	for _, n := range []int{64, 1000} {
		b.Run(strconv.Itoa(n), func(b *testing.B) {
			dst := make([]byte, 0, 1<<20)
			var best time.Duration = math.MaxInt64
			for b.Loop() {
				decoders := make([]Decoder, n)
				for i, msg := range stream {
					start := time.Now()
					for j := range decoders {
						if _, err := decoders[j].Decode(dst, msg, noLimit); err != nil {
							b.Fatal(err)
						}
					}
					if i >= warm {
						best = min(best, time.Since(start))
					}
				}
			}
			b.ReportMetric(float64(best.Nanoseconds())/float64(n), "ns/msg-at-best")
		})
	}
}
