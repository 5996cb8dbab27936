// This file tests that misuse of a buffer is found.

//go:build poison

package pool

import (
	"strings"
	"testing"
)

func TestPoison(t *testing.T) {
	for name, misuse := range map[string]func(*Buffers){
		"released twice": func(p *Buffers) {
			b := p.Get(100)
			p.Put(b)
			p.Put(b)
		},
		"written to after its release": func(p *Buffers) {
			// Under the race detector the pool forgets some.
			for range 100 {
				b := p.Get(100)
				kept := append(b.B, "text"...)
				p.Put(b)
				kept[1] = 'x'
				p.Get(100)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			defer func() {
				if got, _ := recover().(string); !strings.Contains(got, name) {
					t.Errorf("panicked with %q", got)
				}
			}()
			misuse(new(Buffers))
		})
	}
	b := new(Buffers).Get(3)
	b.B = append(b.B, "abc"...)
	kept := b.B
	new(Buffers).Put(b)
	if string(kept) == "abc" {
		t.Error("a released buffer still holds what it held")
	}
}
