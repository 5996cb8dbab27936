// This file makes the streams that the tests and benchmarks share, and decodes
// them.

package zstd

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	kzstd "github.com/klauspost/compress/zstd"
)

// noLimit is above all that the tests decode.
const noLimit = 1 << 30

var levels = []kzstd.EncoderLevel{kzstd.SpeedFastest, kzstd.SpeedDefault, kzstd.SpeedBetterCompression, kzstd.SpeedBestCompression}

// compress makes a stream of the messages, one flush each, as Discord does.
func compress(tb testing.TB, level kzstd.EncoderLevel, messages [][]byte) (stream [][]byte) {
	tb.Helper()
	var out bytes.Buffer
	enc, err := kzstd.NewWriter(&out, kzstd.WithEncoderLevel(level), kzstd.WithWindowSize(1<<18),
		kzstd.WithEncoderCRC(false), kzstd.WithEncoderConcurrency(1))
	if err != nil {
		tb.Fatal(err)
	}
	for _, m := range messages {
		out.Reset()
		if _, err := enc.Write(m); err != nil {
			tb.Fatal(err)
		}
		if err := enc.Flush(); err != nil {
			tb.Fatal(err)
		}
		stream = append(stream, bytes.Clone(out.Bytes()))
	}
	return stream
}

// events returns n messages of about 0.75 kB, as Discord's are.
func events(r *rand.Rand, n int) (messages [][]byte) {
	for seq := range n {
		messages = append(messages, fmt.Appendf(nil,
			`{"t":"MESSAGE_CREATE","s":%d,"op":0,"d":{"type":0,"tts":false,"timestamp":"2026-01-0%dT12:34:%02d.%06d+00:00",`+
				`"pinned":false,"nonce":"%d","mentions":[],"mention_roles":[],"mention_everyone":false,"member":{"roles":["%d","%d"],`+
				`"premium_since":null,"pending":false,"nick":null,"mute":false,"joined_at":"2021-05-06T07:08:09.123000+00:00","flags":0,`+
				`"deaf":false,"communication_disabled_until":null,"banner":null,"avatar":null},"id":"%d","flags":0,"embeds":[],`+
				`"edited_timestamp":null,"content":"%x é %x \"%x\"","components":[],"channel_id":"%d","author":{"username":"user%d",`+
				`"public_flags":0,"primary_guild":null,"id":"%d","global_name":"Name %d","discriminator":"0","clan":null,`+
				`"avatar":"%016x%016x"},"attachments":[],"guild_id":"%d"}}`,
			seq, 1+r.IntN(9), r.IntN(60), r.IntN(1e6), r.Uint64(), 100000000000000001+r.Int64N(99), 100000000000000001+r.Int64N(99), r.Uint64(),
			r.Uint64(), r.Uint32(), r.Uint64(), 113000000000000001+r.Int64N(500), r.IntN(3000), 213000000000000001+r.Int64N(3000), r.IntN(3000),
			r.Uint64(), r.Uint64(), 313000000000000001+r.Int64N(100)))
	}
	return messages
}

var words = strings.Fields(`general announcements the quick brown fox jumps over a lazy dog permission overwrites moderator
	voice stage forum thread éclair naïve 你好 rules welcome off topic music bot commands`)

// guild returns a guild's payload of about size bytes.
func guild(r *rand.Rand, size int) []byte {
	b := []byte(`{"t":"GUILD_CREATE","s":3,"op":0,"d":{"channels":[`)
	for len(b) < size {
		b = fmt.Appendf(b, `{"version":%d,"type":%d,"topic":"%s %s %s %s","position":%d,"permission_overwrites":[{"type":0,"id":"%d","deny":"%d",`+
			`"allow":"%d"}],"parent_id":"%d","name":"%s-%s","last_message_id":"%d","id":"%d","flags":0},`,
			r.Uint64(), r.IntN(16), words[r.IntN(len(words))], words[r.IntN(len(words))], words[r.IntN(len(words))], words[r.IntN(len(words))],
			r.IntN(100), 100000000000000001+r.Int64N(1000), r.IntN(1<<30), r.IntN(1<<30), 113000000000000001+r.Int64N(50),
			words[r.IntN(len(words))], words[r.IntN(len(words))], r.Uint64(), r.Uint64())
	}
	return append(b, `{}]}}`...)
}

func random(r *rand.Rand, n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(r.Uint32())
	}
	return b
}

// mixed returns messages of all kinds, in an order that is mixed as well.
func mixed(r *rand.Rand) (messages [][]byte) {
	messages = append(messages, []byte(`{"t":null,"s":null,"op":10,"d":{"heartbeat_interval":41250}}`))
	small := events(r, 40)
	for i, m := range small {
		messages = append(messages, m)
		switch i % 20 {
		case 1:
			messages = append(messages, nil)
		case 2:
			messages = append(messages, []byte("x"))
		case 3:
			messages = append(messages, guild(r, 300<<10))
		case 5:
			messages = append(messages, random(r, 1+r.IntN(200<<10)))
		case 7:
			messages = append(messages, bytes.Repeat([]byte("a"), 1+r.IntN(400<<10)))
		case 9:
			messages = append(messages, bytes.Repeat(random(r, 1+r.IntN(40)), 1000+r.IntN(9000)))
		case 11:
			messages = append(messages, messages[3], messages[3])
		case 13:
			// Few symbols, so that literals are worth a table.
			b := random(r, r.IntN(70<<10))
			for i := range b {
				b[i] = 'a' + b[i]&7*b[i]>>5
			}
			messages = append(messages, b)
		case 15:
			messages = append(messages, guild(r, 1<<20+r.IntN(2<<20)))
		case 17:
			messages = append(messages, random(r, 1<<18), guild(r, 1<<18))
		}
	}
	return messages
}

// check decodes the stream, which is that of the messages.
func check(tb testing.TB, stream, messages [][]byte) {
	tb.Helper()
	var d Decoder
	var reused []byte
	for i, msg := range stream {
		dst := reused[:0]
		if i%3 == 0 {
			dst = []byte("before")
		}
		n := len(dst)
		before := bytes.Clone(msg)
		out, err := d.Decode(dst, msg, len(messages[i]))
		if err != nil {
			tb.Fatalf("message %d of %d bytes: %v", i, len(messages[i]), err)
		}
		if !bytes.Equal(out[n:], messages[i]) {
			at := 0
			for at < min(len(out)-n, len(messages[i])) && out[n+at] == messages[i][at] {
				at++
			}
			tb.Fatalf("message %d: %d bytes that differ at %d, want %d", i, len(out)-n, at, len(messages[i]))
		}
		if i%3 == 0 && string(out[:n]) != "before" {
			tb.Fatalf("message %d: what was before it is now %q", i, out[:n])
		}
		if !bytes.Equal(msg, before) {
			tb.Fatalf("message %d was changed", i)
		}
		if i%3 != 0 {
			reused = out
		}
	}
}
