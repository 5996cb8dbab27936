package fleet

import (
	"testing"
	"time"

	"sluice/resume"
	"sluice/sinks"
)

// A checkpoint is read as it was written, and without a Skip as earlier versions know it.
func TestCheckpoints(t *testing.T) {
	c := resume.Checkpoint{
		Session: resume.Session{
			ID: "id", ResumeURL: "wss://resume.example", Seq: 7, Shards: 32, Began: 9, Skip: resume.AppendSkip([]int64{9, 10, 12}),
			Gaps: [2]sinks.Gap{{Session: "before", Reason: "too old", Seq: 3, At: 4}},
		},
		Intents: 513, Bot: 11, At: time.UnixMilli(1_700_000_000_000),
	}
	for _, skip := range []string{c.Skip, ""} {
		c.Skip = skip
		b := appendCheckpoint(nil, c)
		if want := map[bool]byte{true: 1, false: 2}[skip == ""]; b[0] != want {
			t.Errorf("with %q it is of layout %d, want %d", skip, b[0], want)
		}
		if got, err := decode(3, b); err != nil || got != c {
			t.Errorf("with %q: %+v, %v", skip, got, err)
		}
		for n := 1; n < len(b); n++ {
			if got, err := decode(3, b[:n]); err == nil {
				t.Fatalf("of %d of %d bytes: %+v", n, len(b), got)
			}
		}
	}
	if _, err := decode(3, []byte{3}); err == nil {
		t.Error("of a layout to come: no error")
	}
}
