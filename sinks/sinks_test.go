// This file tests what the sinks share.

package sinks

import (
	"bytes"
	"encoding/json"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"sluice/engine"
)

func TestTemplate(t *testing.T) {
	ev := &engine.Event{Shard: 35, Type: []byte("MESSAGE_CREATE")}
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

func TestDeadLetters(t *testing.T) {
	d := &DeadLetters{Path: filepath.Join(t.TempDir(), "dead"), Max: 4000}
	for i := range 100 {
		data := `{"a":1}`
		if i == 99 {
			data = `{"a":`
		}
		ev := &engine.Event{Shard: 3, Session: "s", Seq: int64(i), Type: []byte("A"), Data: []byte(data)}
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
	if err := d.Put(&engine.Event{}, errors.New("x")); err == nil {
		t.Error("a file that cannot be made takes letters")
	}
}

func TestOutage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		o := Outage{Log: slog.New(slog.NewTextHandler(&log, nil)), Broker: "redis"}
		o.Over() // nothing to tell
		var waits []time.Duration
		for began := time.Now(); time.Since(began) < 3*time.Minute; {
			wait := o.Failed(errors.New("refused"), "start it")
			waits = append(waits, wait)
			time.Sleep(wait)
		}
		if n := strings.Count(log.String(), "takes no events"); n < 3 || n > 4 {
			t.Errorf("told %d times in three minutes:\n%s", n, &log)
		}
		if waits[0] < firstWait/2 || waits[0] > firstWait || waits[len(waits)-1] > longest || waits[len(waits)-1] < longest/2 {
			t.Errorf("waits from %v to %v", waits[0], waits[len(waits)-1])
		}
		o.Over()
		if !strings.Contains(log.String(), "takes events again") {
			t.Error("the end is not told")
		}
	})
}
