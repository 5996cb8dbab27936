package wire

import (
	"testing"

	"golang.org/x/sys/unix"
)

// Nothing behind the bytes is read: there may be none.
func TestScanBounds(t *testing.T) {
	page := unix.Getpagesize()
	mem, err := unix.Mmap(-1, 0, 2*page, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANON)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Munmap(mem)
	if err := unix.Mprotect(mem[page:], unix.PROT_NONE); err != nil {
		t.Fatal(err)
	}
	for _, name := range payloads {
		d := payload(t, name)
		for n := range min(len(d), page) + 1 {
			b := mem[page-n : page : page]
			copy(b, d)
			if got, want := validLen(b), plainDepthLen(b, maxDepth); got != want {
				t.Fatalf("%s: %d of the first %d bytes, want %d", name, got, n, want)
			}
		}
	}
}
