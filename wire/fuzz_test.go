// This file throws arbitrary bytes at everything that parses what others send.

package wire

import (
	"bytes"
	"encoding/json"
	"reflect"
	"slices"
	"strconv"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/gobwas/ws"
)

// envelopeOf is what encoding/json makes of an envelope: the reference that
// ParseEnvelope is held against.
func envelopeOf(msg []byte) (e Envelope, ok bool) {
	var m map[string]json.RawMessage // exact keys, unlike a struct
	if json.Unmarshal(msg, &m) != nil || m == nil || depthOf(msg) > maxDepth+1 || !utf8.Valid(msg) {
		return e, false
	}
	op, err := strconv.Atoi(string(m["op"]))
	if err != nil {
		return e, false
	}
	e.Op = Opcode(op)
	if s := m["s"]; s != nil && string(s) != "null" {
		if e.Seq, err = strconv.ParseInt(string(s), 10, 64); err != nil {
			return e, false
		}
		e.HasSeq = true
	}
	if t := m["t"]; t != nil && string(t) != "null" {
		var name string
		if json.Unmarshal(t, &name) != nil {
			return e, false
		}
		e.Type = []byte(name)
	}
	e.Data = m["d"]
	return e, true
}

func sameEnvelope(a, b Envelope) bool {
	return a.Op == b.Op && a.Seq == b.Seq && a.HasSeq == b.HasSeq &&
		bytes.Equal(a.Type, b.Type) && (a.Type == nil) == (b.Type == nil) &&
		bytes.Equal(a.Data, b.Data) && (a.Data == nil) == (b.Data == nil)
}

// FuzzEnvelope holds ParseEnvelope against encoding/json: the same answer to all that json
// accepts, and nothing else accepted.
func FuzzEnvelope(f *testing.F) {
	for _, name := range payloads {
		f.Add(payload(f, name))
	}
	for _, c := range envelopeTests {
		f.Add([]byte(c.msg))
	}
	f.Fuzz(func(t *testing.T, msg []byte) {
		before := bytes.Clone(msg)
		want, ok := envelopeOf(msg)
		var e Envelope
		err := ParseEnvelope(msg, &e)
		if !bytes.Equal(msg, before) {
			t.Fatal("the message was changed")
		}
		if ok != (err == nil) || ok && !sameEnvelope(e, want) {
			t.Fatalf("ParseEnvelope(%q) = %+v, %v; json says %+v, %v", msg, e, err, want, ok)
		}
	})
}

// frames feeds the chunks to a reader and returns all it says, messages and at
// most one error, one a line.
func frames(t *testing.T, r *FrameReader, chunks ...[]byte) (said []string) {
	fed := 0
	for _, chunk := range chunks {
		space := r.Space(len(chunk))
		if len(space) < len(chunk) {
			t.Fatalf("Space(%d) returned %d bytes", len(chunk), len(space))
		}
		r.Advance(copy(space, chunk))
		if fed += len(chunk); cap(r.buf) > 2*fed+keptBuffer {
			t.Fatalf("a buffer of %d bytes for %d", cap(r.buf), fed)
		}
		var broken bool
		if said, broken = next(t, r, said); broken {
			break
		}
	}
	return said
}

// lentFrames is frames with the chunks lent, and written over once they are
// the lender's again.
func lentFrames(t *testing.T, r *FrameReader, chunks ...[]byte) (said []string) {
	var lent []byte
	for _, chunk := range chunks {
		lent = append(lent[:0], chunk...)
		r.Feed(lent)
		var broken bool
		if said, broken = next(t, r, said); broken {
			break
		}
		r.Keep()
		for i := range lent {
			lent[i] = 'X'
		}
		if r.start == r.end && r.buf != nil {
			t.Fatalf("a reader that has nothing holds %d bytes", cap(r.buf))
		}
	}
	return said
}

// next adds to said what the reader has, and reports whether it is an error.
func next(t *testing.T, r *FrameReader, said []string) (_ []string, broken bool) {
	for {
		m, ok, err := r.Next()
		if err != nil {
			return append(said, err.Error()), true
		}
		if !ok {
			return said, false
		}
		if len(m.Payload) > r.MaxMessage {
			t.Fatalf("a message of %d bytes", len(m.Payload))
		}
		said = append(said, strconv.Itoa(int(m.Opcode))+strconv.Quote(string(m.Payload)))
	}
}

// FuzzFrames holds that it does not matter how bytes arrive, and that the bound
// is kept.
func FuzzFrames(f *testing.F) {
	for _, name := range payloads {
		p := payload(f, name)
		f.Add(serverFrame(nil, true, ws.OpText, p), uint16(3))
		cut := serverFrame(nil, false, ws.OpBinary, p[:len(p)/2])
		cut = serverFrame(cut, true, ws.OpPing, []byte("between"))
		cut = serverFrame(cut, true, ws.OpContinuation, p[len(p)/2:])
		cut = serverFrame(cut, true, ws.OpClose, []byte("\x0f\xa0unknown"))
		f.Add(cut, uint16(len(p)/2+1))
	}
	for _, c := range frameErrorTests {
		f.Add(c.in, uint16(1))
	}
	f.Fuzz(func(t *testing.T, in []byte, at uint16) {
		const limit = 1 << 12
		whole := frames(t, &FrameReader{MaxMessage: limit}, in)
		cut := min(int(at), len(in))
		if parts := frames(t, &FrameReader{MaxMessage: limit}, in[:cut], in[cut:]); !slices.Equal(parts, whole) {
			t.Fatalf("%q cut at %d: %q, whole: %q", in, cut, parts, whole)
		}
		single := frames(t, &FrameReader{MaxMessage: limit}, slices.Collect(slices.Chunk(in, 1))...)
		if !slices.Equal(single, whole) {
			t.Fatalf("%q by the byte: %q, whole: %q", in, single, whole)
		}
		for _, step := range []int{1, max(1, cut), len(in) + 1} {
			lent := lentFrames(t, &FrameReader{MaxMessage: limit}, slices.Collect(slices.Chunk(in, step))...)
			if !slices.Equal(lent, whole) {
				t.Fatalf("%q lent by %d: %q, whole: %q", in, step, lent, whole)
			}
		}
	})
}

// fuzzInflater gives an inflater arbitrary bytes, and holds that what the server
// compressed comes out again, message by message.
func fuzzInflater(f *testing.F, c Compression) {
	s := newCompressor(f, c)
	for _, name := range payloads {
		p := payload(f, name)
		f.Add(p, uint16(100))
		s.reset()
		first := s.message(f, p)
		f.Add(first, uint16(len(first)))
		f.Add(slices.Concat(first, s.message(f, p)), uint16(len(first)))
	}
	f.Add(bytes.Repeat([]byte{0, 0, 0xff, 0xff}, 9), uint16(6))
	f.Fuzz(func(t *testing.T, data []byte, size uint16) {
		const limit = 16 << 10
		step := int(size)%4096 + 1
		inf := newInflater(t, c, limit)
		defer inf.Close()
		var out []byte
		for msg := range slices.Chunk(data, step) {
			var complete bool
			var err error
			if out, complete, err = inf.Inflate(out, msg); len(out) > limit+zstdBlock {
				t.Fatalf("%d bytes, the limit is %d", len(out), limit)
			}
			if err != nil {
				if _, _, again := inf.Inflate(nil, msg); again == nil {
					t.Fatal("an inflater works again after an error")
				}
				break
			}
			if complete {
				out = out[:0]
			}
		}

		s.reset()
		inf = newInflater(t, c, 0)
		defer inf.Close()
		const before = "before"
		for msg := range slices.Chunk(data, step) {
			packed := s.message(t, msg)
			kept := bytes.Clone(packed)
			out, complete, err := inf.Inflate([]byte(before), packed)
			if err != nil || !complete {
				t.Fatalf("Inflate: complete %v, %v", complete, err)
			}
			if string(out) != before+string(msg) {
				t.Fatalf("Inflate = %q, want %q", out, msg)
			}
			if !bytes.Equal(packed, kept) {
				t.Fatal("the message was changed")
			}
		}
	})
}

func FuzzZstd(f *testing.F)        { fuzzInflater(f, CompressionZstd) }
func FuzzZlib(f *testing.F)        { fuzzInflater(f, CompressionZlib) }
func FuzzPayloadZlib(f *testing.F) { fuzzInflater(f, CompressionPayload) }

// FuzzCommand holds that nothing is accepted that Discord would close over.
func FuzzCommand(f *testing.F) {
	for _, packet := range commandTests {
		f.Add([]byte(packet.packet))
	}
	f.Fuzz(func(t *testing.T, packet []byte) {
		c, err := ParseCommand(packet)
		if err != nil {
			if !reflect.DeepEqual(c, Command{}) {
				t.Fatalf("%+v beside %v", c, err)
			}
			return
		}
		if len(packet) > 4096 {
			t.Fatalf("%d bytes accepted", len(packet))
		}
		var m map[string]json.RawMessage
		if err := json.Unmarshal(packet, &m); err != nil {
			t.Fatalf("%q accepted: %v", packet, err)
		}
		if op, err := strconv.Atoi(string(m["op"])); err != nil || Opcode(op) != c.Op {
			t.Fatalf("%q: op %d, want %s", packet, c.Op, m["op"])
		}
		var d map[string]json.RawMessage
		if err := json.Unmarshal(m["d"], &d); err != nil || d == nil {
			t.Fatalf("%q: d is no object", packet)
		}
		switch c.Op {
		case OpPresenceUpdate, OpRequestSoundboardSounds:
		case OpVoiceStateUpdate, OpRequestGuildMembers, OpRequestChannelInfo:
			var guild string
			if err := json.Unmarshal(d["guild_id"], &guild); err != nil {
				t.Fatalf("%q: guild %d of %s", packet, c.Guild, d["guild_id"])
			}
			if id, err := ParseSnowflake(guild); err != nil || id != c.Guild {
				t.Fatalf("%q: guild %d, want %q", packet, c.Guild, guild)
			}
		default:
			t.Fatalf("%q: op %d accepted", packet, c.Op)
		}
	})
}

// FuzzReady holds that a READY of Discord's is understood whatever its strings
// hold, and that nothing else breaks the parser.
func FuzzReady(f *testing.F) {
	var e Envelope
	if err := ParseEnvelope(payload(f, "ready"), &e); err != nil {
		f.Fatal(err)
	}
	f.Add(e.Data, "0123456789abcdef0123456789abcdef", "wss://gateway-us-east1-c.discord.gg", uint8(2))
	f.Add([]byte(`{"session_id":"a\ud800","guilds":{}}`), "\"\\\u2028<", "", uint8(0))
	f.Add([]byte(`[[[[`), "", "x", uint8(1))
	f.Fuzz(func(t *testing.T, d []byte, session, address string, guilds uint8) {
		if r, err := ParseReady(d); err == nil && (r.SessionID == "" || r.Guilds < 0) {
			t.Fatalf("ParseReady(%q) = %+v", d, r)
		}
		list := make([]map[string]any, guilds)
		whole, err := json.Marshal(map[string]any{"v": 10, "session_id": session, "resume_gateway_url": address, "guilds": list})
		if err != nil {
			t.Fatal(err)
		}
		var want struct {
			Session string `json:"session_id"` // as json passes it on: in UTF-8
			Address string `json:"resume_gateway_url"`
		}
		if err := json.Unmarshal(whole, &want); err != nil {
			t.Fatal(err)
		}
		r, err := ParseReady(whole)
		if !ValidSessionID(want.Session) {
			if err == nil {
				t.Fatalf("a READY with the session id %q was accepted", want.Session)
			}
			return
		}
		if len(address) > MaxControl/6 { // which may be more with its escapes
			want.Address = r.ResumeURL
		}
		if err != nil || r != (ReadyEvent{want.Session, want.Address, int(guilds)}) {
			t.Fatalf("ParseReady(%q) = %+v, %v", whole, r, err)
		}
	})
}

// FuzzHello holds ParseHello against encoding/json.
func FuzzHello(f *testing.F) {
	var e Envelope
	if err := ParseEnvelope(payload(f, "hello"), &e); err != nil {
		f.Fatal(err)
	}
	f.Add(e.Data)
	for _, d := range []string{
		`{"heartbeat_interval":41250.5}`, `{"heartbeat_interval":0}`, `{"heartbeat_interval":1e999}`, `{"heartbeat_interval":"41250"}`,
		`{"heartbeat_interval":1,"heartbeat_interval":2}`, `{"\u0068eartbeat_interval":5}`, `{}`, `[]`, `null`, ``,
	} {
		f.Add([]byte(d))
	}
	f.Fuzz(func(t *testing.T, d []byte) {
		h, err := ParseHello(d)
		var m map[string]json.RawMessage
		if json.Unmarshal(d, &m) != nil || m == nil || len(d) > MaxControl {
			if err == nil {
				t.Fatalf("ParseHello(%q) = %+v", d, h)
			}
			return
		}
		ms, e := strconv.ParseFloat(string(m["heartbeat_interval"]), 64)
		if ok := e == nil && ms >= 1 && ms <= 86400000; ok != (err == nil) && depthOf(d) <= maxDepth && utf8.Valid(d) && d[0] == '{' && d[len(d)-1] == '}' ||
			err == nil && h.HeartbeatInterval != time.Duration(ms*float64(time.Millisecond)) {
			t.Fatalf("ParseHello(%q) = %+v, %v; json says %s", d, h, err, m["heartbeat_interval"])
		}
	})
}
