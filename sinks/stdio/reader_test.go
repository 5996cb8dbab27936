// This file tests the input: which commands come out of a stream, and what is
// logged of the rest.

package stdio

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/iotest"

	"sluice/sinks"
	"sluice/sinks/msgpack"
)

// records is a slog.Handler for one goroutine that keeps what ReadCommands logs.
type records struct {
	lines []string // "unit number: error"
	input []string // the excerpts
}

func (r *records) Enabled(context.Context, slog.Level) bool { return true }
func (r *records) WithAttrs([]slog.Attr) slog.Handler       { return r }
func (r *records) WithGroup(string) slog.Handler            { return r }

func (r *records) Handle(_ context.Context, rec slog.Record) error {
	var line string
	rec.Attrs(func(a slog.Attr) bool {
		switch a.Key {
		case "line", "item":
			line = fmt.Sprintf("%s %v: ", a.Key, a.Value)
		case "error":
			line += a.Value.String()
		case "input":
			r.input = append(r.input, a.Value.String())
		}
		return true
	})
	r.lines = append(r.lines, line)
	return nil
}

// read returns the commands in input, as "guild shard packet", and the log.
func read(t *testing.T, input io.Reader) (commands []string, log *records) {
	t.Helper()
	log = &records{}
	err := ReadCommands(input, func(c sinks.Command) error {
		commands = append(commands, fmt.Sprintf("%d %d %s", c.Guild, c.Shard, c.Packet))
		return nil
	}, nil, slog.New(log))
	if err != nil {
		t.Fatal(err)
	}
	return commands, log
}

func readTestdata(t testing.TB, name string) []byte {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("..", "..", "testdata", "stdio", name))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

const guild = "81384788765712384"

var (
	wantJSON = []string{
		`0 3 {"op":3,"d":{"since":null,"activities":[],"status":"online","afk":false}}`,
		guild + ` 0 {"op":8,"d":{"guild_id":"81384788765712384","query":"","limit":0}}`,
		guild + ` 0 {"op":4,"d":{"guild_id":"81384788765712384","channel_id":null,"self_mute":false,"self_deaf":false}}`,
		guild + ` 0 {"op":8,"d":{}}`,
		`0 3 {"op":3,"d":{}}`,
		`0 3 {"op":3,"d":{}}`,
	}
	wantMsgPack = []string{
		guild + ` 0 {"op":8,"d":{}}`, // raw
		guild + ` 0 {"op":8,"d":{}}`, // str 8
		guild + ` 0 {"op":8,"d":{}}`, // bin 8
		guild + ` 0 {"op":8,"d":{"guild_id":"81384788765712384","limit":0}}`,
		guild + ` 0 {"op":8,"d":{"guild_id":"81384788765712384","limit":0}}`, // the guild as a number
		`0 3 {"op":3,"d":{}}`,
		`0 3 {"op":8,"d":{"guild_id":"81384788765712384","limit":0}}`,
	}
)

// Commands as lines and as MessagePack, whole and in pieces, come out the same.
func TestReadCommands(t *testing.T) {
	lines, items := readTestdata(t, "commands.jsonl"), readTestdata(t, "commands.msgpack")
	for _, tt := range []struct {
		name  string
		input []byte
		want  []string
	}{
		{"nothing", nil, nil},
		{"white space", []byte(" \r\n\n\t"), nil},
		{"lines", lines, wantJSON},
		{"lines, the last without its end", bytes.TrimSpace(lines), wantJSON},
		{"lines ended by CRLF", bytes.ReplaceAll(lines, []byte("\n"), []byte("\r\n")), wantJSON},
		{"lines behind white space", []byte("\n \t" + string(lines)), wantJSON},
		{"lines behind a byte order mark", append([]byte("\ufeff"), lines...), wantJSON},
		{"MessagePack", items, wantMsgPack},
		{"lines, then MessagePack", slices.Concat(lines, items), slices.Concat(wantJSON, wantMsgPack)},
		{"MessagePack, then lines", slices.Concat(items, lines), slices.Concat(wantMsgPack, wantJSON)},
		{"MessagePack, a line feed, lines", slices.Concat(items, []byte("\n"), lines), slices.Concat(wantMsgPack, wantJSON)},
		{"a line without its end, then MessagePack", slices.Concat(bytes.TrimSpace(lines), items), slices.Concat(wantJSON, wantMsgPack)},
	} {
		for name, input := range map[string]io.Reader{
			"at once":      bytes.NewReader(tt.input),
			"byte by byte": iotest.OneByteReader(bytes.NewReader(tt.input)),
			"by halves":    iotest.HalfReader(bytes.NewReader(tt.input)),
			"EOF and data": iotest.DataErrReader(bytes.NewReader(tt.input)),
		} {
			got, log := read(t, input)
			if !slices.Equal(got, tt.want) {
				t.Errorf("%s, %s:\ngot  %q\nwant %q", tt.name, name, got, tt.want)
			}
			if len(log.lines) != 0 {
				t.Errorf("%s, %s: log %q", tt.name, name, log.lines)
			}
		}
	}
}

// ok is a command whose arrival shows that the stream goes on.
const (
	ok     = `{"shard":9,"packet":{}}`
	okItem = "\x82\xa5shard\x09\xa6packet\x80"
	wantOK = "0 9 {}"
)

// A line that is no command gets one message that names the fault, and those behind it are read.
func TestBadLines(t *testing.T) {
	const (
		where = `; a command is {"shard":0,"packet":{…}}, {"guild_id":"…","packet":{…}} or {"event":"SEND","data":{…}}`
		flake = `; it must be a snowflake in a string, such as "81384788765712384"`
	)
	for _, tt := range []struct{ line, want string }{
		{`hello`, `a command is a JSON object in one line, or a MessagePack map`},
		{`[{"shard":0}]`, `a command is a JSON object in one line, or a MessagePack map`},
		{`"SEND"`, `a command is a JSON object in one line, or a MessagePack map`},
		{"\u07c0 letters that begin with df", `a command is a JSON object in one line, or a MessagePack map`},
		{`{`, `a command is not JSON: unexpected end of JSON input, at byte 1`},
		{`{"shard":0,}`, `a command is not JSON: invalid character '}' looking for beginning of object key string, at byte 12`},
		{ok + ok, `a command is not JSON: invalid character '{' after top-level value, at byte 24`},
		{"{\"a\":\"\xff\"}", `a command is not UTF-8, in which JSON is written`},
		{`{}`, `packet is missing` + where},
		{`{"op":3,"d":{}}`, `packet is missing` + where},
		{`{"shard":1,"packet":null}`, `packet is not a JSON object {…}`},
		{`{"shard":1,"packet":"{}"}`, `packet is not a JSON object {…}`},
		{`{"packet":{}}`, `guild_id is missing` + flake + ` (or give shard, a number)`},
		{`{"shard":"1","packet":{}}`, `shard is "1"; it must be a shard's number, such as 3`},
		{`{"shard":-1,"packet":{}}`, `shard is -1; it must be a shard's number, such as 3`},
		{`{"shard":1.5,"packet":{}}`, `shard is 1.5; it must be a shard's number, such as 3`},
		{`{"shard":1,"guild_id":"1","packet":{}}`, `guild_id and shard are both given; one of them decides where the packet goes`},
		{`{"guild_id":81384788765712384,"packet":{}}`, `guild_id is the number 81384788765712384, which may have lost digits; send it as a string`},
		{`{"guild_id":"x","packet":{}}`, `guild_id is "x"` + flake},
		{`{"guild_id":"0","packet":{}}`, `guild_id is "0"` + flake},
		{`{"guild_id":"-1","packet":{}}`, `guild_id is "-1"` + flake},
		{`{"guild_id":"18446744073709551616","packet":{}}`, `guild_id is "18446744073709551616"` + flake},
		{`{"guild_id":null,"packet":{}}`, `guild_id is null` + flake},
		{`{"event":"SEND"}`, `data is missing beside event`},
		{`{"event":3,"data":{}}`, `event is not a string; it must be "SEND" or a shard's number, such as "3"`},
		{`{"event":null,"data":{}}`, `event is not a string; it must be "SEND" or a shard's number, such as "3"`},
		{`{"event":"MESSAGE_CREATE","shard":3,"seq":17,"data":{}}`, `event "MESSAGE_CREATE" is no command; it must be "SEND" or a shard's number, such as "3"`},
		{`{"event":"-3","data":{}}`, `event "-3" is no command; it must be "SEND" or a shard's number, such as "3"`},
		{`{"event":"3","data":[]}`, `data is not a JSON object {…}`},
		{`{"event":"3","data":"nope"}`, `data is not JSON: invalid character 'o' in literal null (expecting 'u'), at byte 2`},
		{`{"event":"3","data":""}`, `data is not JSON: unexpected end of JSON input, at byte 0`},
		{`{"event":"SEND","data":"{}"}`, `packet is missing` + where},
		{`{"event":"SEND","data":null}`, `data is not a JSON object {…}`},
		{`{"event":"SEND","data":"{\"guild_id\":1,\"packet\":{}}"}`, `guild_id is the number 1, which may have lost digits; send it as a string`},
		{`{"shard":1,"packet":{"a":"` + strings.Repeat("x", maxItem) + `"}}`, `a command of 1048605 bytes is too long; it may have up to 1048576`},
	} {
		got, log := read(t, strings.NewReader(ok+"\n"+tt.line+"\n"+ok+"\n"))
		if want := []string{wantOK, wantOK}; !slices.Equal(got, want) {
			t.Errorf("%.80q between two good lines: commands %q", tt.line, got)
		}
		want := "line 2: " + tt.want
		if len(log.lines) != 1 || log.lines[0] != want {
			t.Errorf("%.80q:\ngot  %q\nwant %q", tt.line, log.lines, want)
		}
	}
}

// TestBadItems is the same of MessagePack. Where the end of the bad item cannot
// be known, the next is found by its key.
func TestBadItems(t *testing.T) {
	deep := strings.Repeat("\x91", msgpack.MaxDepth)
	long := strings.Repeat("\n{\x82\x00", maxItem/4+1)
	for _, tt := range []struct{ name, item, want string }{
		{"empty map", "\x80", `packet is missing; a command is {"shard":0,"packet":{…}}, {"guild_id":"…","packet":{…}} or {"event":"SEND","data":{…}}`},
		{"key that is no string", "\x81\x01\x02", "a key of a MessagePack map is not a string, as keys are in JSON"},
		{"timestamp", "\x82\xa5event\xa13\xa4data\x81\xa1t\xd6\xff\x00\x00\x00\x00", "MessagePack ext (type -1) has no form in JSON; send times and the like as strings"},
		{"ext 8", "\x81\xa4data\xc7\x03\x07abc", "MessagePack ext (type 7) has no form in JSON; send times and the like as strings"},
		{"NaN", "\x81\xa4data\xcb\x7f\xf8\x00\x00\x00\x00\x00\x00", "the MessagePack number NaN has no form in JSON"},
		{"infinity", "\x81\xa4data\xca\xff\x80\x00\x00", "the MessagePack number -Inf has no form in JSON"},
		{"not UTF-8", "\x81\xa4data\xa1\xff", "a MessagePack string is not UTF-8, in which JSON is written"},
		{"guild as a rounded float", "\x82\xa8guild_id\xcb\x43\x72\x12\x34\x56\x78\x9a\xbc\xa6packet\x80", `guild_id is the number 8.138504926617082e+16, which may have lost digits; send it as a string`},
		{"guild as a number in JSON", "\x82\xa5event\xa4SEND\xa4data\xd9\x1c" + `{"guild_id":123,"packet":{}}`, "guild_id is the number 123, which may have lost digits; send it as a string"},
		{"c1", "\x81\xa4data\xc1", "broken MessagePack: c1 begins no value"},
		{"c1 and more", "\x81\xa4data\xc1\x00\x82\xa5even\x82\x82{}\xff\xa5event", "broken MessagePack: c1 begins no value"},
		{"deep", "\x81\xa4data" + deep + "\xc0", "the MessagePack value is nested more than 100 deep"},
		{"long", "\x81\xa4data\xdb" + string([]byte{0, byte(len(long) >> 16), byte(len(long) >> 8), byte(len(long))}) + long, fmt.Sprintf("a command of %d bytes is too long; it may have up to 1048576", 11+len(long))},
		{"longer than can be", "\x81\xa4data\xdb\xff\xff\xff\xffabc{", "the MessagePack value is broken or longer than 16777216 bytes; a command may have up to 1048576"},
		{"endless", "\xdf\x00\xff\xff\xff" + strings.Repeat("\xd9\xff"+strings.Repeat("k", 255)+"\x00", maxSkipped/258+1), "the MessagePack value is broken or longer than 16777216 bytes; a command may have up to 1048576"},
		{"cut off, the next within its data", "\x82\xa5event\xa13\xa4data\xd9\x12{\"op\":3," + okItem[:10], "a MessagePack string is not UTF-8, in which JSON is written"},
	} {
		for _, next := range []string{okItem, "\n" + okItem, "\n" + ok + "\n"} {
			if strings.HasPrefix(tt.name, "cut off") && !strings.HasPrefix(next, "\n") {
				continue // its own next is what was swallowed
			}
			got, log := read(t, strings.NewReader(okItem+tt.item+next))
			if want := []string{wantOK, wantOK}; !slices.Equal(got, want) {
				t.Errorf("%s, then %q: commands %q", tt.name, next, got)
			}
			if len(log.lines) != 1 || !strings.HasPrefix(log.lines[0], "item 2: "+tt.want) {
				t.Errorf("%s, then %q:\ngot  %.200q\nwant %q", tt.name, next, log.lines, "item 2: "+tt.want)
			}
		}
	}
}

// TestCutOffItem is that of a MessagePack item whose writer died in the middle
// only the next is lost with it, though JSON of the next looks like a line.
func TestCutOffItem(t *testing.T) {
	item := "\x82\xa5event\xa13\xa4data\xaf{\"op\":3,\"d\":{}}"
	for cut := 1; cut < len(item); cut++ {
		got, log := read(t, strings.NewReader(item[:cut]+item+item+item))
		if len(got) < 2 || len(log.lines) > 3 {
			t.Errorf("cut at %d: %d commands, log %q", cut, len(got), log.lines)
		}
	}
}

func TestEndWithinItem(t *testing.T) {
	for _, item := range []string{"\x82", "\x82\xa5eve", "\xde\x00", "\x82\xa5event\xda\x00", "\x81\xa4data\x91"} {
		got, log := read(t, strings.NewReader(okItem+item))
		if len(got) != 1 || len(log.lines) != 1 || log.lines[0] != "item 2: the input ended within a MessagePack map" {
			t.Errorf("%q: commands %q, log %q", item, got, log.lines)
		}
	}
}

func TestSendErrorIsLogged(t *testing.T) {
	log := &records{}
	refusal := errors.New("shard 9 is not run by this process")
	input := ok + "\n" + okItem + ok
	err := ReadCommands(strings.NewReader(input), func(sinks.Command) error { return refusal }, nil, slog.New(log))
	want := []string{"line 1: " + refusal.Error(), "item 1: " + refusal.Error(), "line 2: " + refusal.Error()}
	if err != nil || !slices.Equal(log.lines, want) {
		t.Errorf("ReadCommands = %v, log %q, want %q", err, log.lines, want)
	}
}

func TestReadError(t *testing.T) {
	for _, before := range []string{"", ok + "\n", ok, okItem, okItem[:4], "garbage", "\x81\xa4data\xa9abc"} {
		log := &records{}
		err := ReadCommands(io.MultiReader(strings.NewReader(before), iotest.ErrReader(errBroken)),
			func(sinks.Command) error { return nil }, nil, slog.New(log))
		if !errors.Is(err, errBroken) {
			t.Errorf("after %q: %v, want the error of the read", before, err)
		}
	}
	if err := ReadCommands(strings.NewReader("x\n"), nil, nil, nil); err != nil {
		t.Errorf("without a log: %v", err)
	}
}

// TestCommandLeavesAtOnce is that a command is sent before the next byte is
// asked for.
func TestCommandLeavesAtOnce(t *testing.T) {
	for _, item := range []string{ok + "\n", okItem} {
		r, w := io.Pipe()
		sent := make(chan sinks.Command)
		done := make(chan error)
		go func() {
			done <- ReadCommands(r, func(c sinks.Command) error { sent <- c; return nil }, nil, nil)
		}()
		for range 3 {
			if _, err := io.WriteString(w, item); err != nil {
				t.Fatal(err)
			}
			if c := <-sent; c.Shard != 9 {
				t.Errorf("shard %d, want 9", c.Shard)
			}
		}
		w.Close()
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
}

func TestExcerpt(t *testing.T) {
	for _, tt := range []struct{ in, want string }{
		{"plain \"text\" é\r\n", "plain \"text\" é"},
		{"\x00\x1b[31m\t\x7f\u2028\xff\x82", `\x00\x1b[31m\t\x7f\u2028\xff\x82`},
		{strings.Repeat("x", 200), strings.Repeat("x", 200)},
		{strings.Repeat("x", 201), strings.Repeat("x", 200) + "…"},
		{strings.Repeat("\x00", 1000), strings.Repeat(`\x00`, 50) + "…"},
		{"", ""},
	} {
		if got := excerpt([]byte(tt.in)); got != tt.want {
			t.Errorf("excerpt(%q) = %q, want %q", tt.in, got, tt.want)
		}
	}
}

// FuzzReadCommands is that no input makes the reader panic, hang or log more
// than one line for a bad item, that what it sends is what it says, and that the
// cut of the input into reads changes nothing.
func FuzzReadCommands(f *testing.F) {
	f.Add(readTestdata(f, "commands.jsonl"))
	f.Add(readTestdata(f, "commands.msgpack"))
	f.Add([]byte("garbage\n{\n" + ok + "\n\x82\xc1{\xff" + okItem + "\xde\x00\x00\xdf\xff"))
	f.Add([]byte("\x82\xa5event\xa13\xa4data\xd9\x12{\"op\":3," + okItem + okItem))
	f.Fuzz(func(t *testing.T, input []byte) {
		got, log := read(t, bytes.NewReader(input))
		// Each has at least a byte of its own.
		if items := len(got) + len(log.lines); items > len(input) {
			t.Errorf("%d commands and log lines from %d bytes", items, len(input))
		}
		for _, s := range log.input {
			if len(s) > maxExcerpt+len("…") {
				t.Errorf("an excerpt of %d bytes", len(s))
			}
			if strings.ContainsFunc(s, func(c rune) bool { return c < ' ' }) {
				t.Errorf("control characters in %q", s)
			}
		}
		again, log2 := read(t, iotest.OneByteReader(bytes.NewReader(input)))
		if !slices.Equal(got, again) || !slices.Equal(log.lines, log2.lines) {
			t.Errorf("byte by byte:\n%q %q\nat once:\n%q %q", again, log2.lines, got, log.lines)
		}
		// A text without MessagePack's bytes gives one line for each line.
		if !bytes.ContainsFunc(input, func(c rune) bool { return c >= 0x80 }) {
			items := 0
			for line := range bytes.Lines(input) {
				if len(bytes.Trim(line, " \t\r\n")) > 0 {
					items++
				}
			}
			if len(got)+len(log.lines) != items {
				t.Errorf("%d commands and %d log lines from %d lines", len(got), len(log.lines), items)
			}
		}
	})
}
