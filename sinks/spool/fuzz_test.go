// This file tests segments that hold anything.

package spool

import (
	"bytes"
	"log/slog"
	"testing"
)

// Whatever a segment holds, it is opened, and what was written to it is what is read.
func FuzzSegment(f *testing.F) {
	var whole []byte
	whole = appendSegmentHead(whole, 0)
	for n := range int64(3) {
		ev := numbered(n + 1)
		whole = appendRecord(whole, &ev)
	}
	f.Add(whole, whole)
	f.Add(whole[:len(whole)-1], whole[:segmentHead])
	f.Add([]byte{}, []byte(magic))
	f.Fuzz(func(t *testing.T, first, second []byte) {
		d := newDisk()
		for i, text := range [][]byte{first, second} {
			if len(text) >= segmentHead {
				text = append(appendSegmentHead(nil, uint64(i)), text[segmentHead:]...)
			}
			d.Put(segmentName(uint64(i)), text)
		}
		l, at, err := openSegments(d, 1<<20, slog.New(slog.DiscardHandler))
		if err != nil {
			t.Fatal(err)
		}
		defer l.close()
		c := cursor{l: l, at: at}
		defer c.close()
		for {
			b := new(batch)
			ok, err := c.read(b, l.list, 2)
			if err != nil {
				t.Fatal(err)
			}
			if !ok {
				break
			}
			for i := range b.events {
				again, _, err := parseRecord(appendRecord(nil, &b.events[i]))
				if err != nil || again.Seq != b.events[i].Seq || !bytes.Equal(again.Data, b.events[i].Data) {
					t.Fatalf("%+v comes back as %+v, %v", b.events[i], again, err)
				}
			}
		}
	})
}
