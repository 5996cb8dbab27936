// This file tests what MessagePack becomes as JSON.

package msgpack

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"math"
	"reflect"
	"strconv"
	"strings"
	"testing"
)

func isID(key []byte) bool { return string(key) == "guild_id" || string(key) == "user_ids" }

// Every type of MessagePack becomes the JSON that it stands for, or an error.
func TestAppendJSON(t *testing.T) {
	for _, tt := range []struct{ in, want string }{
		{"\xc0", "null"},
		{"\xc2", "false"},
		{"\xc3", "true"},
		{"\x00", "0"},
		{"\x7f", "127"},
		{"\xff", "-1"},
		{"\xe0", "-32"},
		{"\xcc\xff", "255"},
		{"\xcd\xff\xff", "65535"},
		{"\xce\xff\xff\xff\xff", "4294967295"},
		{"\xcf\xff\xff\xff\xff\xff\xff\xff\xff", "18446744073709551615"},
		{"\xd0\x80", "-128"},
		{"\xd1\x80\x00", "-32768"},
		{"\xd2\x80\x00\x00\x00", "-2147483648"},
		{"\xd3\x80\x00\x00\x00\x00\x00\x00\x00", "-9223372036854775808"},
		{"\xd3\x7f\xff\xff\xff\xff\xff\xff\xff", "9223372036854775807"},
		{"\xca\x3f\xc0\x00\x00", "1.5"},
		{"\xca\x3d\xcc\xcc\xcd", "0.1"},
		{"\xca\x40\x40\x00\x00", "3"},
		{"\xcb\x3f\xb9\x99\x99\x99\x99\x99\x9a", "0.1"},
		{"\xcb\x40\x08\x00\x00\x00\x00\x00\x00", "3"},
		{"\xcb\x43\x40\x00\x00\x00\x00\x00\x00", "9007199254740992"},
		{"\xcb\x43\x40\x00\x00\x00\x00\x00\x01", "9.007199254740994e+15"},
		{"\xcb\x80\x00\x00\x00\x00\x00\x00\x00", "0"},
		{"\xcb\x7f\xef\xff\xff\xff\xff\xff\xff", "1.7976931348623157e+308"},
		{"\xa0", `""`},
		{"\xa3a\"\n", `"a\"\n"`},
		{"\xd9\x02\xc3\xa9", `"é"`},
		{"\xda\x00\x01a", `"a"`},
		{"\xdb\x00\x00\x00\x01a", `"a"`},
		{"\xc4\x01a", `"a"`},
		{"\xc5\x00\x01a", `"a"`},
		{"\xc6\x00\x00\x00\x01a", `"a"`},
		{"\x90", "[]"},
		{"\x92\x01\x91\xc0", "[1,[null]]"},
		{"\xdc\x00\x01\x01", "[1]"},
		{"\xdd\x00\x00\x00\x02\x01\x02", "[1,2]"},
		{"\x80", "{}"},
		{"\x82\xa1a\x01\xc4\x01b\x80", `{"a":1,"b":{}}`},
		{"\x82\xa8guild_id\x07\xa1b\x07", `{"guild_id":"7","b":7}`},
		{"\x81\xa8user_ids\x93\x07\xff\xa17", `{"user_ids":["7",-1,"7"]}`},
		{"\x81\xa8user_ids\x81\xa1a\x07", `{"user_ids":{"a":7}}`},
		{"\xde\x00\x01\xa1a\x01", `{"a":1}`},
		{"\xdf\x00\x00\x00\x01\xa1a\x01", `{"a":1}`},
		{strings.Repeat("\x91", MaxDepth) + "\xc0", strings.Repeat("[", MaxDepth) + "null" + strings.Repeat("]", MaxDepth)},
	} {
		got, rest, err := AppendJSON(nil, []byte(tt.in+"\x01"), isID)
		if string(got) != tt.want || err != nil || string(rest) != "\x01" {
			t.Errorf("%.40q: %.60s, then %q, %v; want %.60s", tt.in, got, rest, err, tt.want)
		}
	}
}

// What is no value, or has no form in JSON, is refused, and costs no more than it has bytes.
func TestAppendJSONRefuses(t *testing.T) {
	for _, tt := range []struct{ in, want string }{
		{"", "ends too soon"},
		{"\xc1", "c1 begins no value"},
		{"\x91\xc1", "c1 begins no value"},
		{"\xa2a", "ends too soon"},
		{"\xd9", "ends too soon"},
		{"\xda\x00", "ends too soon"},
		{"\xdb\xff\xff\xff\xffa", "ends too soon"},
		{"\xdd\xff\xff\xff\xff\xc0", "ends too soon"},
		{"\xdf\xff\xff\xff\xff\xa0\xc0", "ends too soon"},
		{"\x81", "ends too soon"},
		{"\x81\xa1a", "ends too soon"},
		{"\xcf\x01", "ends too soon"},
		{"\xca\x00\x00\x00", "ends too soon"},
		{"\xd4\x01", "ends too soon"},
		{"\xd4\xff\x00", "ext (type -1)"},
		{"\xc7\x00\x07", "ext (type 7)"},
		{"\x81\x01\x02", "is not a string"},
		{"\x81\xc0\x02", "is not a string"},
		{"\xa1\xff", "not UTF-8"},
		{"\x81\xa1\xff\x00", "not UTF-8"},
		{"\xcb\x7f\xf8\x00\x00\x00\x00\x00\x00", "NaN"},
		{"\xca\xff\x80\x00\x00", "-Inf"},
		{strings.Repeat("\x91", MaxDepth+1) + "\xc0", "nested more than 100 deep"},
		{strings.Repeat("\x81\xa0", MaxDepth+1) + "\xc0", "nested more than 100 deep"},
		{strings.Repeat("\x91", 1<<20), "nested more than 100 deep"},
	} {
		if got, _, err := AppendJSON(nil, []byte(tt.in), isID); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%.40q: %.60q, %v; want %q", tt.in, got, err, tt.want)
		}
	}
}

// encode appends v, as encoding/json decodes it with UseNumber, in forms of
// MessagePack that turns chooses.
func encode(dst []byte, v any, turns *int) []byte {
	*turns++
	wide := *turns%3 == 0
	switch v := v.(type) {
	case nil:
		return append(dst, 0xc0)
	case bool:
		if v {
			return append(dst, 0xc3)
		}
		return append(dst, 0xc2)
	case json.Number:
		if n, err := strconv.ParseInt(string(v), 10, 64); err == nil && !wide {
			if 0 <= n && n < 128 || -32 <= n && n < 0 {
				return append(dst, byte(n))
			}
			return binary.BigEndian.AppendUint64(append(dst, 0xd3), uint64(n))
		}
		if n, err := strconv.ParseUint(string(v), 10, 64); err == nil {
			return binary.BigEndian.AppendUint64(append(dst, 0xcf), n)
		}
		f, _ := v.Float64()
		return binary.BigEndian.AppendUint64(append(dst, 0xcb), math.Float64bits(f))
	case string:
		if wide {
			dst = binary.BigEndian.AppendUint32(append(dst, 0xc6), uint32(len(v)))
		} else {
			dst = AppendRawHeader(dst, len(v))
		}
		return append(dst, v...)
	case []any:
		dst = binary.BigEndian.AppendUint32(append(dst, 0xdd), uint32(len(v)))
		for _, e := range v {
			dst = encode(dst, e, turns)
		}
		return dst
	case map[string]any:
		if len(v) < 16 && !wide {
			dst = append(dst, 0x80|byte(len(v)))
		} else {
			dst = binary.BigEndian.AppendUint16(append(dst, 0xde), uint16(len(v)))
		}
		for key, e := range v {
			dst = encode(encode(dst, key, turns), e, turns)
		}
		return dst
	}
	panic("not a value of encoding/json")
}

// FuzzAppendJSON takes its input for MessagePack, which must give valid JSON
// or an error, and for JSON, which must survive the way through MessagePack.
func FuzzAppendJSON(f *testing.F) {
	f.Add([]byte(`{"op":8,"d":{"guild_id":"81384788765712384","n":[1,-1,1.5,1e300,18446744073709551615,null,true]}}`))
	f.Add([]byte("\x83\xa2op\x03\xa1d\x92\xc0\xcb\x3f\xb9\x99\x99\x99\x99\x99\x9a\xa1e\xd6\xff\x00\x00\x00\x00"))
	f.Add([]byte("\xdf\x00\x00\x00\x01\xc4\x01a\xdd\x00\x00\x00\x01\xd3\x80\x00\x00\x00\x00\x00\x00\x00"))
	f.Fuzz(func(t *testing.T, input []byte) {
		if text, _, err := AppendJSON(nil, input, isID); err == nil && !json.Valid(text) {
			t.Errorf("%q gave %q", input, text)
		}

		want, ok := decodeJSON(input)
		if !ok {
			return
		}
		turns := 0
		packed := encode(nil, want, &turns)
		text, rest, err := AppendJSON(nil, packed, isID)
		if err != nil {
			if strings.Contains(err.Error(), "nested") {
				return
			}
			t.Fatalf("%s as %x: %v", input, packed, err)
		}
		got, ok := decodeJSON(text)
		if !ok || len(rest) > 0 || !same(got, want) {
			t.Errorf("%s came back as %s", input, text)
		}
	})
}

// decodeJSON decodes JSON whose numbers a float64 can hold.
func decodeJSON(text []byte) (v any, ok bool) {
	d := json.NewDecoder(bytes.NewReader(text))
	d.UseNumber()
	if d.Decode(&v) != nil || d.Decode(new(any)) == nil {
		return nil, false
	}
	var floats any
	return v, json.Unmarshal(text, &floats) == nil
}

// same reports whether a has come back as b, numbers by what they mean. Those that are ids
// are strings then.
func same(b, a any) bool {
	switch a := a.(type) {
	case json.Number:
		if s, ok := b.(string); ok {
			b = json.Number(s)
		}
		b, ok := b.(json.Number)
		x, _ := a.Float64()
		y, _ := b.Float64()
		return ok && x == y
	case []any:
		b, ok := b.([]any)
		if !ok || len(a) != len(b) {
			return false
		}
		for i := range a {
			if !same(b[i], a[i]) {
				return false
			}
		}
		return true
	case map[string]any:
		b, ok := b.(map[string]any)
		if !ok || len(a) != len(b) {
			return false
		}
		for key := range a {
			if other, ok := b[key]; !ok || !same(other, a[key]) {
				return false
			}
		}
		return true
	}
	return reflect.DeepEqual(a, b)
}
