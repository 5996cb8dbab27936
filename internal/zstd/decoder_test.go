// This file tests the decoder on streams that are right, and on the ways in
// which they can be wrong.

package zstd

import (
	"bytes"
	"math/rand/v2"
	"testing"
)

func TestStreams(t *testing.T) {
	for _, level := range levels {
		t.Run(level.String(), func(t *testing.T) {
			messages := mixed(rand.New(rand.NewPCG(1, uint64(level))))
			check(t, compress(t, level, messages), messages)
		})
	}
}

func TestSmallMessages(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	messages := events(r, 2000)
	for i := range 300 {
		messages = append(messages, random(r, i), messages[i][:i], bytes.Repeat([]byte{byte(i)}, i))
	}
	for _, level := range levels {
		check(t, compress(t, level, messages), messages)
	}
}
