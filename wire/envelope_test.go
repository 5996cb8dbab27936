// This file tests the envelope.

package wire

import (
	"errors"
	"testing"
)

// Those without want are refused.
var envelopeTests = []struct {
	name, msg string
	want      *Envelope
}{
	{"ack", `{"t":null,"s":null,"op":11,"d":null}`, &Envelope{Op: 11, Data: []byte("null")}},
	{"invalid session", `{"t":null,"s":null,"op":9,"d":false}`, &Envelope{Op: 9, Data: []byte("false")}},
	{"dispatch", `{"t":"RESUMED","s":78,"op":0,"d":{"a":[1,{}]}}`, &Envelope{0, 78, true, []byte("RESUMED"), []byte(`{"a":[1,{}]}`)}},
	{"seq 0", `{"t":"A","s":0,"op":0,"d":""}`, &Envelope{0, 0, true, []byte("A"), []byte(`""`)}},
	{"brackets and quotes in strings", `{"t":"A","s":1,"op":0,"d":{"x":"}]{[\"\\"}}`, &Envelope{0, 1, true, []byte("A"), []byte(`{"x":"}]{[\"\\"}`)}},
	{"another order", `{"op":0,"d":{"x":1},"s":5,"t":"A_1"}`, &Envelope{0, 5, true, []byte("A_1"), []byte(`{"x":1}`)}},
	{"d first", `{"d":[1],"t":"A","op":0,"s":5}`, &Envelope{0, 5, true, []byte("A"), []byte(`[1]`)}},
	{"op alone", `{"op":11}`, &Envelope{Op: 11}},
	{"d absent", `{"t":"A","s":2,"op":0}`, &Envelope{Seq: 2, HasSeq: true, Type: []byte("A")}},
	{"white space", " \t\r\n{ \"t\" : \"A\" , \"s\"\n: 2 ,\"op\":\t0 , \"d\" : { \"x\" : 1 } } \n", &Envelope{0, 2, true, []byte("A"), []byte(`{ "x" : 1 }`)}},
	{"escapes in t", `{"t":"A\u0042\n\"","s":2,"op":0,"d":1}`, &Envelope{0, 2, true, []byte("AB\n\""), []byte("1")}},
	{"t in other letters", `{"t":"größe","s":2,"op":0,"d":1}`, &Envelope{0, 2, true, []byte("größe"), []byte("1")}},
	{"lone surrogate in t", `{"t":"\ud83d","s":2,"op":0,"d":1}`, &Envelope{0, 2, true, []byte("\ufffd"), []byte("1")}},
	{"empty t", `{"t":"","s":2,"op":0,"d":1}`, &Envelope{0, 2, true, []byte{}, []byte("1")}},
	{"escapes in keys", `{"\u0074":"A","\u0073":2,"\u006fp":0,"\u0064":1}`, &Envelope{0, 2, true, []byte("A"), []byte("1")}},
	{"unknown keys", `{"x":{"op":9},"t":"A","y\"":[],"s":2,"op":0,"d":1,"z":null}`, &Envelope{0, 2, true, []byte("A"), []byte("1")}},
	{"other case", `{"T":"B","S":3,"OP":4,"D":5,"op":0}`, &Envelope{}},
	{"repeated keys", `{"t":"A","s":1,"op":0,"d":1,"t":"B","s":2,"op":7,"d":2}`, &Envelope{7, 2, true, []byte("B"), []byte("2")}},
	{"repeated with null", `{"t":"A","s":1,"op":0,"d":1,"t":null,"s":null}`, &Envelope{Data: []byte("1")}},
	{"s of 2^53+1", `{"t":"A","s":9007199254740993,"op":0,"d":1}`, &Envelope{0, 9007199254740993, true, []byte("A"), []byte("1")}},
	{"greatest s", `{"t":"A","s":9223372036854775807,"op":0,"d":1}`, &Envelope{0, 9223372036854775807, true, []byte("A"), []byte("1")}},
	{"negative s", `{"t":"A","s":-1,"op":0,"d":1}`, &Envelope{0, -1, true, []byte("A"), []byte("1")}},
	{"unknown op", `{"t":null,"s":null,"op":4711,"d":-1.5e+3}`, &Envelope{Op: 4711, Data: []byte("-1.5e+3")}},
	{"lone surrogates in d", `{"t":"A","s":1,"op":0,"d":"\ud83d \udc00"}`, &Envelope{0, 1, true, []byte("A"), []byte(`"\ud83d \udc00"`)}},

	{"t not in UTF-8", "{\"t\":\"\xff\",\"s\":2,\"op\":0,\"d\":1}", nil},
	{"d not in UTF-8", "{\"t\":\"A\",\"s\":2,\"op\":0,\"d\":\"\xff\"}", nil},
	{"s beyond int64", `{"t":"A","s":9223372036854775808,"op":0,"d":1}`, nil},
	{"s a fraction", `{"t":"A","s":1.5,"op":0,"d":1}`, nil},
	{"s with an exponent", `{"t":"A","s":1e3,"op":0,"d":1}`, nil},
	{"s a string", `{"t":"A","s":"1","op":0,"d":1}`, nil},
	{"s with leading zero", `{"t":"A","s":01,"op":0,"d":1}`, nil},
	{"op absent", `{"t":"A","s":1,"d":1}`, nil},
	{"op null", `{"t":"A","s":1,"op":null,"d":1}`, nil},
	{"op a string", `{"t":"A","s":1,"op":"0","d":1}`, nil},
	{"t a number", `{"t":1,"s":1,"op":0,"d":1}`, nil},
	{"trailing garbage", `{"t":"A","s":1,"op":0,"d":1}x`, nil},
	{"trailing brace", `{"t":"A","s":1,"op":0,"d":{}}}`, nil},
	{"two objects", `{"t":"A","s":1,"op":0,"d":1}{"op":1}`, nil},
	{"cut in d", `{"t":"A","s":1,"op":0,"d":{"x":"`, nil},
	{"cut before d", `{"t":"A","s":1,"op":0,"d":`, nil},
	{"cut after d", `{"t":"A","s":1,"op":0,"d":{}`, nil},
	{"cut in t", `{"t":"A`, nil},
	{"array", `[{"op":1}]`, nil},
	{"null", `null`, nil},
	{"empty", ``, nil},
	{"compressed", "\x78\x9c", nil},
}

func TestEnvelope(t *testing.T) {
	for _, c := range envelopeTests {
		e := Envelope{Op: 99, Seq: 99, HasSeq: true, Type: []byte("old"), Data: []byte("old")}
		err := ParseEnvelope([]byte(c.msg), &e)
		switch {
		case c.want == nil && !errors.Is(err, ErrEnvelope):
			t.Errorf("%s: %+v, %v; want ErrEnvelope", c.name, e, err)
		case c.want != nil && (err != nil || !sameEnvelope(e, *c.want)):
			t.Errorf("%s: %+v, %v; want %+v", c.name, e, err, *c.want)
		}
		// The table itself agrees with encoding/json.
		if want, ok := envelopeOf([]byte(c.msg)); ok != (c.want != nil) || ok && !sameEnvelope(want, *c.want) {
			t.Errorf("%s: json says %+v, %v", c.name, want, ok)
		}
	}
}

// Discord's own payloads take the way that allocates nothing, and appending to
// what ParseEnvelope returned does not write into the message.
func TestEnvelopeUsual(t *testing.T) {
	for _, name := range payloads {
		msg := payload(t, name)
		var e Envelope
		if !parseUsual(msg, &e) {
			t.Errorf("%s: not taken for the usual form", name)
			continue
		}
		var other Envelope
		if err := parseAny(msg, &other); err != nil || !sameEnvelope(e, other) {
			t.Errorf("%s: %+v, %v; want %+v", name, other, err, e)
		}
		if cap(e.Data) != len(e.Data) || cap(e.Type) != len(e.Type) {
			t.Errorf("%s: d or t has room in the message", name)
		}
		if n := testing.AllocsPerRun(100, func() { ParseEnvelope(msg, &e) }); n != 0 {
			t.Errorf("%s: %v allocations", name, n)
		}
	}
}
