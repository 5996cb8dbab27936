package wire_test

import (
	"bytes"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/cpu"

	"sluice/wire"
)

// What Discord sends takes the faster way, wherever a message ends.
func TestScanned(t *testing.T) {
	events, _ := mix(t)
	if !cpu.X86.HasAVX2 || !cpu.X86.HasPCLMULQDQ {
		for _, d := range events {
			if n := wire.ScanLen(d); n != 0 {
				t.Fatalf("%d of %d bytes by a processor that cannot", n, len(d))
			}
		}
		return
	}
	short := 0
	for _, d := range events {
		if len(d) < 128 {
			short++
		} else if n := wire.ScanLen(d); n != len(d) {
			t.Fatalf("%d of %d bytes: %s", n, len(d), d)
		}
		for _, behind := range []string{"}", `,"s":1}`, `,"x":[true]}` + string(d), "é"} {
			if n := wire.ScanLen(append(d[:len(d):len(d)], behind...)); n != len(d) && len(d) >= 128 {
				t.Fatalf("%d of %d bytes before %q: %s", n, len(d), behind, d)
			}
		}
	}
	if short > len(events)/4 {
		t.Errorf("%d of %d events are short", short, len(events))
	}
	all := slices.Concat([]byte("["), bytes.Join(events, []byte(",")), []byte("]"))
	if n := wire.ScanLen(all); n != len(all) {
		t.Errorf("%d of %d bytes", n, len(all))
	}
	const in = `{"a":-1,"b":1.5,"c":[10,1e3,0,9],"d":"\\\"\u00e9\\\\","é":"%","":[[],{},[{}]],"f":false,"t":true,"n":null}`
	for n := 40; n < 240; n++ {
		for _, text := range []string{"x", "é"} {
			d := []byte(strings.Replace(in, "%", strings.Repeat(text, n), 1))
			if got := wire.ScanLen(d); got != len(d) {
				t.Errorf("%d of %d bytes: %s", got, len(d), d)
			}
		}
	}
}
