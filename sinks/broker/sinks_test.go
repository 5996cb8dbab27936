// This file tests what the sinks share.

package broker

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"sluice/sinks"
)

func TestTemplate(t *testing.T) {
	ev := &sinks.Event{Shard: 35, Type: []byte("MESSAGE_CREATE")}
	for _, tt := range []struct {
		template, want string
		names          bool
	}{
		{"", "MESSAGE_CREATE", true},
		{"{event}", "MESSAGE_CREATE", true},
		{"gateway:{event}", "gateway:MESSAGE_CREATE", true},
		{"{event}:{shard%16}", "MESSAGE_CREATE:3", true},
		{"all", "all", false},
		{"bot.{shard}.x", "bot.35.x", false},
		{"{shard%1}", "0", false},
	} {
		tm, err := ParseTemplate(tt.template)
		if err != nil {
			t.Fatal(err)
		}
		if got := string(tm.Append([]byte("-"), ev)); got != "-"+tt.want || tm.NamesEvent() != tt.names {
			t.Errorf("%q: %q, names the event: %v", tt.template, got, tm.NamesEvent())
		}
	}
	for _, bad := range []string{"{", "{event", "{}", "{guild}", "{event%3}", "{shard%}", "{shard%0}", "{shard%-1}", "{shard%x}", "a{event}{"} {
		if _, err := ParseTemplate(bad); err == nil {
			t.Errorf("%q is taken", bad)
		}
	}
	tm, _ := ParseTemplate("{event}:{shard%16}")
	dst := make([]byte, 0, 64)
	if n := testing.AllocsPerRun(100, func() { dst = tm.Append(dst[:0], ev) }); n > 0 {
		t.Errorf("%v allocations", n)
	}
}

// Dead letters are whole lines, the newest are kept, and both files stay within the bound.
func TestDeadLetters(t *testing.T) {
	d := &DeadLetters{Path: filepath.Join(t.TempDir(), "dead"), Max: 4000}
	for i := range 100 {
		data := `{"a":1}`
		if i == 99 {
			data = `{"a":`
		}
		ev := &sinks.Event{Shard: 3, Session: "s", Seq: int64(i), Type: []byte("A"), Data: []byte(data)}
		if err := d.Put(ev, errors.New("too large")); err != nil {
			t.Fatal(err)
		}
	}
	total, seq := 0, int64(-1)
	for _, name := range []string{d.Path + ".1", d.Path} {
		b, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		total += len(b)
		for line := range strings.Lines(string(b)) {
			var l deadLetter
			if err := json.Unmarshal([]byte(line), &l); err != nil {
				t.Fatal(err)
			}
			if seq >= 0 && l.Seq != seq+1 || l.Event != "A" || l.Shard != 3 || l.Reason != "too large" || l.Time.IsZero() {
				t.Fatalf("after %d: %s", seq, line)
			}
			if seq = l.Seq; string(l.Data) != `{"a":1}` && l.Text != `{"a":` {
				t.Errorf("data of %s", line)
			}
		}
	}
	if seq != 99 || total > 4000 || total < 2000 {
		t.Errorf("%d bytes, the last is %d", total, seq)
	}
	d.Path = filepath.Join(t.TempDir(), "none", "dead")
	if err := d.Put(&sinks.Event{}, errors.New("x")); err == nil {
		t.Error("a file that cannot be made takes letters")
	}
}

func TestOutage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		o := Outage{Log: slog.New(slog.NewTextHandler(&log, nil)), Broker: "Redis"}
		o.Over() // nothing to tell
		var waits []time.Duration
		for began := time.Now(); time.Since(began) < 3*time.Minute; {
			wait := o.Failed(errors.New("refused"))
			waits = append(waits, wait)
			time.Sleep(wait)
		}
		if n := strings.Count(log.String(), "unavailable; buffering events"); n < 3 || n > 4 {
			t.Errorf("told %d times in three minutes:\n%s", n, &log)
		}
		if waits[0] < firstWait/2 || waits[0] > firstWait || waits[len(waits)-1] > longest || waits[len(waits)-1] < longest/2 {
			t.Errorf("waits from %v to %v", waits[0], waits[len(waits)-1])
		}
		o.Over()
		if !strings.Contains(log.String(), "available again") {
			t.Error("the end is not told")
		}
	})
}

// A broker that comes and goes is logged a few times a minute, with how often besides.
func TestOutageFlaps(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		o := Outage{Log: slog.New(slog.NewTextHandler(&log, nil)), Broker: "Redis"}
		for range 600 { // in two minutes
			time.Sleep(o.Failed(errors.New("refused")))
			o.Over()
			time.Sleep(200*time.Millisecond - firstWait)
		}
		began, ended := strings.Count(log.String(), "unavailable; buffering events"), strings.Count(log.String(), "available again")
		if began < 6 || began > 3*logMost || ended != began {
			t.Errorf("%d and %d lines", began, ended)
		}
		if !strings.Contains(log.String(), "outages_not_logged=") {
			t.Error("what is left out is not logged")
		}
		time.Sleep(time.Minute)
		for began := time.Now(); time.Since(began) < 30*time.Second; {
			time.Sleep(o.Failed(errors.New("refused")))
		}
		if n := strings.Count(log.String(), "unavailable; buffering events"); n != began+1 {
			t.Errorf("%d lines after an outage that lasts, want %d", n, began+1)
		}
	})
}

var update = flag.Bool("update", false, "write the golden files anew")

// TestFormats holds each format against a file, which other programs' decoders are
// tried on as well.
func TestFormats(t *testing.T) {
	ev := &sinks.Event{Shard: 300, Session: "s", Seq: 70_000, Type: []byte("MESSAGE_CREATE"), Data: []byte(
		`{"id":"1234567890123456789","content":"h\u00e9llo \"wörld\" \ud83c\udf0a\n","big":12345678901234567890,"float":-1.5e3,"half":"\ud800",` +
			`"tts":false,"edited":null,"list":[0,-1,127,128,255,256,-32,-33,-129,65536,4294967296,{}],"empty":{}}`)}
	for i, e := range Encodings() {
		encoding := Encoding(i)
		if encoding.String() != e {
			t.Fatalf("%s is %v", e, encoding)
		}
		for _, envelope := range []bool{false, true} {
			f := Format{encoding, envelope}
			got, err := f.Append(nil, ev)
			if err != nil {
				t.Fatal(err)
			}
			name := e
			if envelope {
				name += "-envelope"
			}
			file := filepath.Join("..", "..", "testdata", "formats", name)
			if *update {
				os.MkdirAll(filepath.Dir(file), 0o777)
				if err := os.WriteFile(file, got, 0o666); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(got, want) {
				t.Errorf("%s: got  %q\nwant %q", name, got, want)
			}
			dst := make([]byte, 0, 4096)
			if n := testing.AllocsPerRun(100, func() { f.Append(dst, ev) }); n > 0 {
				t.Errorf("%s: %v allocations", name, n)
			}
			none, err := f.Append([]byte("-"), &sinks.Event{Type: []byte("X")})
			if err != nil || !bytes.HasPrefix(none, []byte("-")) || len(none) < 2 {
				t.Errorf("%s: an event without data is %q, %v", name, none, err)
			}
		}
	}
	if _, err := (Format{Encoding: Msgpack}).Append(nil, &sinks.Event{Data: []byte("{")}); err == nil {
		t.Error("MessagePack is made of what is no JSON")
	}
}
