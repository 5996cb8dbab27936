// This file tests what is refused although it is JSON.

package wire

import (
	"encoding/json"
	"strings"
	"testing"
)

// Those with wrong are refused with an error that contains it.
var ijsonTests = []struct{ text, wrong string }{
	{`null`, ""},
	{` [ true , false , null , { } , [ ] , "" , 0 ] `, ""},
	{`{"a":{"a":[{"a":1}]},"b":1}`, ""},
	{`"é \u00e9 \ud83d\ude00 😀 \\ud800 \\\\ \" \/"`, ""},
	{`[-9223372036854775808,18446744073709551615,1.7976931348623157e308,1e-999,-0,0.1]`, ""},
	{`{"1":0,"2":0,"3":0,"4":0,"5":0,"6":0,"7":0,"8":0,"9":0,"10":0,"11":0}`, ""},
	{strings.Repeat("[", 100) + strings.Repeat("]", 100), ""},
	{"\"\u2028\ufffe\ufffd\"", ""},

	{``, "not JSON"},
	{`{"a":1`, "not JSON"},
	{`1 2`, "not JSON"},
	{"\"\xff\"", "UTF-8"},
	{"\"\xed\xa0\x80\"", "UTF-8"},     // a surrogate
	{"\"\xc0\x80\"", "UTF-8"},         // NUL, overlong
	{"\"\xf4\x90\x80\x80\"", "UTF-8"}, // above U+10FFFF
	{`"\ud800"`, `\ud800 is half`},
	{`"\uDC00"`, `\uDC00 is half`},
	{`"\ud800\ud800"`, `\ud800 is half`},
	{`"\ud800x"`, `\ud800 is half`},
	{`"\ud800\n"`, `\ud800 is half`},
	{`"\udc00\ud800"`, `\udc00 is half`},
	{`{"\ud83d":1}`, `\ud83d is half`},
	{`[{"a":["\\\ud83d"]}]`, `\ud83d is half`},
	{`"\u0000"`, "NUL"},
	{`{"a\u0000":1}`, "NUL"},
	{`{"a":1,"a":1}`, `"a" stands twice`},
	{`{"a":1,"\u0061":1}`, `"a" stands twice`},
	{`[{"x":{"a":1,"b":2,"a":3}}]`, `"a" stands twice`},
	{`{"1":0,"2":0,"3":0,"4":0,"5":0,"6":0,"7":0,"8":0,"9":0,"1":0}`, `"1" stands twice`},
	{`{"1":0,"2":0,"3":0,"4":0,"5":0,"6":0,"7":0,"8":0,"9":0,"9":0}`, `"9" stands twice`},
	{`1e999`, "1e999 is beyond a double"},
	{`[-1.5E+400]`, "beyond a double"},
	{`18446744073709551616`, "beyond 64 bits"},
	{`-9223372036854775809`, "beyond 64 bits"},
	{strings.Repeat("9", 4000), "beyond 64 bits"},
	{strings.Repeat("[", 101) + strings.Repeat("]", 101), "nested more than 100"},
	{strings.Repeat(`{"a":`, 101) + "1" + strings.Repeat("}", 101), "nested more than 100"},
}

func TestCheckIJSON(t *testing.T) {
	for _, c := range ijsonTests {
		err := CheckIJSON([]byte(c.text))
		if c.wrong == "" && err != nil || c.wrong != "" && (err == nil || !strings.Contains(err.Error(), c.wrong)) {
			t.Errorf("%.80q: error %v, want %q", c.text, err, c.wrong)
		}
	}
}

// FuzzCheckIJSON is that what is taken is JSON, and means the same when it is decoded
// and encoded again.
func FuzzCheckIJSON(f *testing.F) {
	for _, c := range ijsonTests {
		f.Add([]byte(c.text))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		if CheckIJSON(text) != nil {
			return
		}
		var v any
		if err := json.Unmarshal(text, &v); err != nil {
			t.Fatalf("%q: %v", text, err)
		}
		again, err := json.Marshal(v)
		if err != nil {
			t.Fatalf("%q: %v", text, err)
		}
		if strings.Contains(string(again), "\ufffd") && !strings.Contains(string(text), "\ufffd") &&
			!strings.Contains(strings.ToLower(string(text)), `\ufffd`) {
			t.Errorf("%q: a character is lost in %q", text, again)
		}
	})
}
