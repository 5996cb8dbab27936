// This file holds the journal against the vectors of events of former owners that all languages share.

package consumers

import (
	"encoding/json"
	"os"
	"path/filepath"
	"testing"
)

func TestEpochsVectors(t *testing.T) {
	var vectors struct {
		Cases []struct {
			Name  string
			Steps [][]any
		}
	}
	text, err := os.ReadFile("../testdata/epochs.json")
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(text, &vectors); err != nil || len(vectors.Cases) < 10 {
		t.Fatalf("%d vectors: %v", len(vectors.Cases), err)
	}
	for _, tt := range vectors.Cases {
		name := filepath.Join(t.TempDir(), "journal")
		open := func() *Journal {
			j, err := OpenJournal(name)
			if err != nil {
				t.Fatalf("%s: %v", tt.Name, err)
			}
			return j
		}
		j := open()
		for _, step := range tt.Steps {
			if step[0] == "reopen" {
				j.Close()
				j = open()
				continue
			}
			e := Event{Name: "A", Value: []byte("{}"), Queue: step[0].(string), Shard: int(step[1].(float64)), Epoch: int64(step[2].(float64)),
				Redelivered: step[3].(bool), Session: step[4].(string), Seq: int64(step[5].(float64))}
			before := doneIn(t, name)
			if err := j.Process([]Event{e}); err != nil {
				t.Fatal(err)
			}
			if done := doneIn(t, name) > before; done != step[6] {
				t.Errorf("%s: %v: processed %v", tt.Name, step, done)
			}
		}
		j.Close()
	}
}

// doneIn counts what the journal says was done.
func doneIn(t *testing.T, name string) (n int) {
	t.Helper()
	f, err := os.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for d := json.NewDecoder(f); d.More(); {
		var r record
		if err := d.Decode(&r); err != nil {
			t.Fatal(err)
		}
		n += len(r.Done)
	}
	return n
}
