// This file tests what the gateway writes, and how it makes MessagePack of JSON, with
// decoders that others wrote.

package e2e

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"strconv"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/vmihailenco/msgpack/v5"

	own "sluice/sinks/msgpack"
)

// jsonValue returns what text stands for: numbers as strings that tell integers from
// floats, as plain does.
func jsonValue(text []byte) (any, error) {
	d := json.NewDecoder(bytes.NewReader(text))
	d.UseNumber()
	var v any
	if err := d.Decode(&v); err != nil {
		return nil, err
	}
	if _, err := d.Token(); err != io.EOF {
		return nil, fmt.Errorf("something follows: %v", err)
	}
	return plain(v), nil
}

// plain returns v with its numbers as strings.
func plain(v any) any {
	switch v := v.(type) {
	case json.Number:
		if s := string(v); s != "-0" && !strings.ContainsAny(s, ".eE") {
			if n, err := strconv.ParseInt(s, 10, 64); err == nil {
				return plain(n)
			}
			if n, err := strconv.ParseUint(s, 10, 64); err == nil {
				return plain(n)
			}
		}
		f, _ := strconv.ParseFloat(string(v), 64)
		return plain(f)
	case int8, int16, int32, int64, uint8, uint16, uint32, uint64:
		return fmt.Sprintf("integer %d", v)
	case float64:
		return fmt.Sprintf("float %x", v)
	case []any:
		all := make([]any, len(v))
		for i := range v {
			all[i] = plain(v[i])
		}
		return all
	case map[string]any:
		all := make(map[string]any, len(v))
		for k := range v {
			all[k] = plain(v[k])
		}
		return all
	}
	return v
}

// goDecode decodes with vmihailenco/msgpack.
func goDecode(value []byte) (any, error) {
	d := msgpack.NewDecoder(bytes.NewReader(value))
	d.UseLooseInterfaceDecoding(true) // int64 and uint64 for all integers
	v, err := d.DecodeInterface()
	if err != nil {
		return nil, err
	}
	if d.Buffered().(*bytes.Reader).Len() > 0 {
		return nil, fmt.Errorf("something follows")
	}
	return plain(v), nil
}

// The golden files of each format, decoded by three libraries, are the JSON that they
// stand for.
func TestFormatsByOthers(t *testing.T) {
	t.Parallel()
	dir := installNode(t, "consumers", "decode.mjs")
	golden := filepath.Join("..", "..", "testdata", "formats")
	read := func(name string) []byte {
		b, err := os.ReadFile(filepath.Join(golden, name))
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	decoders := map[string]func(name string) (any, error){
		"vmihailenco/msgpack": func(name string) (any, error) { return goDecode(read(name)) },
	}
	for _, library := range []string{"@msgpack/msgpack", "notepack.io"} {
		decoders[library] = func(name string) (any, error) {
			file, err := filepath.Abs(filepath.Join(golden, name))
			if err != nil {
				return nil, err
			}
			cmd := exec.CommandContext(t.Context(), "node", "decode.mjs", library, file)
			cmd.Dir = dir
			out, err := cmd.CombinedOutput()
			if err != nil {
				return nil, fmt.Errorf("%w\n%s", err, out)
			}
			return jsonValue(out)
		}
	}
	discordjs := fmt.Appendf(nil, `{"shardId":300,"payload":%s}`, read("json-envelope"))
	for _, tt := range []struct {
		name string
		want []byte
		text bool // the value is a string of JSON
	}{
		{"msgpack-string", read("json"), true},
		{"msgpack-string-envelope", read("json-envelope"), true},
		{"msgpack", read("json"), false},
		{"msgpack-envelope", read("json-envelope"), false},
		{"discordjs", discordjs, false},
		{"discordjs-envelope", discordjs, false},
	} {
		want, err := jsonValue(tt.want)
		if err != nil {
			t.Fatal(err)
		}
		for library, decode := range decoders {
			got, err := decode(tt.name)
			if err == nil && tt.text {
				text, _ := got.(string)
				got, err = jsonValue([]byte(text))
			}
			// JavaScript has one kind of number.
			if err != nil || !reflect.DeepEqual(doubles(got), doubles(want)) {
				t.Errorf("%s by %s: %v\ngot  %v\nwant %v", tt.name, library, err, got, want)
			}
			if library == "vmihailenco/msgpack" && !reflect.DeepEqual(got, want) {
				t.Errorf("%s: integers and floats: got %v, want %v", tt.name, got, want)
			}
		}
	}
}

// doubles returns a value of plain's with integers as floats.
func doubles(v any) any {
	switch v := v.(type) {
	case string:
		if digits, ok := strings.CutPrefix(v, "integer "); ok {
			f, _ := strconv.ParseFloat(digits, 64)
			return plain(f)
		}
	case []any:
		for i := range v {
			v[i] = doubles(v[i])
		}
	case map[string]any:
		for k := range v {
			v[k] = doubles(v[k])
		}
	}
	return v
}

// FuzzTranscoder holds the way from JSON to MessagePack against encoding/json and
// vmihailenco/msgpack.
func FuzzTranscoder(f *testing.F) {
	for _, text := range []string{`{"a":[1,-1.5e300,"é\ud83d\ude00",null,true]}`, `[18446744073709551615,-9223372036854775808,1e999,-0]`, `"\ud800"`, `{"a":{"a":{}}}`} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		if !utf8.Valid(text) || bytes.Count(text, []byte("["))+bytes.Count(text, []byte("{")) > 100 {
			return // kept as they are; and nested deeper than either library goes
		}
		got, err := own.AppendFromJSON(nil, text)
		want, wrong := jsonValue(text)
		if (err == nil) != (wrong == nil) {
			t.Fatalf("%q: %v, encoding/json says %v", text, err, wrong)
		}
		if err != nil {
			return
		}
		v, err := goDecode(got)
		if err != nil || !reflect.DeepEqual(v, want) {
			t.Fatalf("%q is %x, which is decoded as %v, %v; want %v", text, got, v, err, want)
		}
	})
}
