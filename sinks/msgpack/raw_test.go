package msgpack

import "testing"

// The three headers of a raw string, at their bounds.
func TestAppendRawHeader(t *testing.T) {
	for n, want := range map[int]string{
		0: "\xa0", 1: "\xa1", 31: "\xbf", 32: "\xda\x00\x20", 255: "\xda\x00\xff", 256: "\xda\x01\x00", 65535: "\xda\xff\xff",
		65536: "\xdb\x00\x01\x00\x00", 1 << 24: "\xdb\x01\x00\x00\x00",
	} {
		if got := string(AppendRawHeader([]byte("-"), n)); got != "-"+want {
			t.Errorf("%d: % x, want % x", n, got, "-"+want)
		}
	}
}
