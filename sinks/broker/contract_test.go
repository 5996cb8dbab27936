// This file holds what the sinks share against numbers and bytes of its own, which are those of
// the documentation.

package broker

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"sluice/sinks"
)

func newOutage(log *bytes.Buffer) *Outage {
	return &Outage{Log: slog.New(slog.NewTextHandler(log, nil)), Broker: "Redis"}
}

// The waits are 0.1, 0.2, 0.4, 0.8 and 1.6 s and then 2 s, less up to a half.
func TestOutageWaits(t *testing.T) {
	for range 50 { // the waits are random
		var log bytes.Buffer
		o := newOutage(&log)
		for round := range 2 {
			for i, ms := range []int{100, 200, 400, 800, 1600, 2000, 2000, 2000, 2000, 2000, 2000, 2000, 2000} {
				most := time.Duration(ms) * time.Millisecond
				if got := o.Failed(errors.New("refused")); got < most/2 || got >= most {
					t.Fatalf("round %d: wait %d is %v, want %v to %v", round, i, got, most/2, most)
				}
			}
			o.Progress() // they begin anew
		}
		o.Over()
		if got := o.Failed(errors.New("refused")); got >= 100*time.Millisecond {
			t.Fatalf("the first wait of another outage is %v", got)
		}
	}
}

// An outage is logged when it begins and every minute from then on, to the second.
func TestOutageLoggedEachMinute(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		o := newOutage(&log)
		began := time.Now()
		var at []time.Duration
		for time.Since(began) <= 3*time.Minute {
			before := log.Len()
			o.Failed(errors.New("refused"))
			if log.Len() > before {
				at = append(at, time.Since(began))
			}
			time.Sleep(time.Second)
		}
		if got := fmt.Sprint(at); got != "[0s 1m0s 2m0s 3m0s]" {
			t.Errorf("logged at %s", got)
		}
		for _, want := range []string{"for=0s", "for=1m0s", "for=2m0s", "for=3m0s"} {
			if strings.Count(log.String(), want+"\n") != 1 {
				t.Errorf("%s is not logged once:\n%s", want, &log)
			}
		}
		if n := strings.Count(log.String(), "error=refused"); n != 4 {
			t.Errorf("the error is logged %d times", n)
		}
		if strings.Contains(log.String(), "outages_not_logged") {
			t.Errorf("outages are said not to be logged:\n%s", &log)
		}
		log.Reset()
		o.Over("waiting", 7)
		if want := `after=3m1s waiting=7`; !strings.Contains(log.String(), want) {
			t.Errorf("no %s in %s", want, &log)
		}
		// The next one is logged at once.
		log.Reset()
		o.Failed(errors.New("refused"))
		if got := log.String(); !strings.Contains(got, "unavailable; buffering events") {
			t.Errorf("the log: %s", got)
		}
	})
}

// Five outages are logged in a minute, with their ends, and the next minute says how many were not.
func TestOutagesOfAMinute(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		o := newOutage(&log)
		o.Commands = true
		for range 8 {
			o.Failed(errors.New("refused"))
			time.Sleep(time.Second)
			o.Over()
		}
		begun, ended := strings.Count(log.String(), "unavailable; reading no commands"), strings.Count(log.String(), "available again; reading commands")
		if begun != 5 || ended != 5 {
			t.Errorf("%d lines begin and %d end, want 5 and 5", begun, ended)
		}
		time.Sleep(52*time.Second - 1) // a nanosecond before the minute is over
		o.Failed(errors.New("refused"))
		o.Over()
		if n := strings.Count(log.String(), "unavailable; reading no commands"); n != 5 {
			t.Errorf("%d lines in the minute", n)
		}
		time.Sleep(time.Nanosecond)
		o.Failed(errors.New("refused"))
		if !strings.Contains(log.String(), "outages_not_logged=4\n") {
			t.Errorf("the log: %s", &log)
		}
	})
}

// A name is quoted as JSON, and plain where that is enough.
func TestAppendName(t *testing.T) {
	for name, want := range map[string]string{
		"MESSAGE_CREATE": `"MESSAGE_CREATE"`, "": `""`, " ": `" "`, "~": `"~"`, "a\"b": `"a\"b"`, `\`: `"\\"`,
		"\x1f": `"\u001f"`, "\x7f": "\"\x7f\"", "é": `"é"`, "\xff": `"\ufffd"`,
	} {
		if got := string(AppendName([]byte("-"), name)); got != "-"+want {
			t.Errorf("%q: %s, want %s", name, got, want)
		}
	}
	for at := range 19 { // whatever is there, whether it is looked at alone or with others
		for c := range 256 {
			name := []byte("MESSAGE_CREATE_SOON")
			name[at] = byte(c)
			want, _ := json.Marshal(string(name))
			if c == '<' || c == '>' || c == '&' { // Marshal has HTML in mind
				want = []byte(`"` + string(name) + `"`)
			}
			if got, text := AppendName(nil, name), AppendName(nil, string(name)); !bytes.Equal(got, want) || !bytes.Equal(text, want) {
				t.Fatalf("%q: %s and %s, want %s", name, got, text, want)
			}
		}
	}
	var at []byte
	if n := testing.AllocsPerRun(100, func() { at = AppendName(at[:0], " ~") }); n > 0 {
		t.Errorf("%v allocations for a plain name", n)
	}
}

// The length of an envelope in a MessagePack string is that of the text, wherever it is appended.
func TestEnvelopeLength(t *testing.T) {
	f := Format{Encoding: MsgpackString, Envelope: true}
	ev := &sinks.Event{Type: []byte("X"), Seq: 1, Data: []byte("{}")}
	const want = "\xdb\x00\x00\x00\x1d" + `{"op":0,"s":1,"t":"X","d":{}}`
	for _, before := range []string{"", "-", "some text"} {
		got, err := f.Append([]byte(before), ev)
		text := string(got[len(before)+5:])
		if err != nil || string(got[:len(before)+5]) != before+fmt.Sprintf("\xdb\x00\x00\x00%c", len(text)) || text != want[5:] {
			t.Errorf("after %q: %q, %v", before, got, err)
		}
	}
}
