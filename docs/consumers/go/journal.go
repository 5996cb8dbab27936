// This file is a store for a consumer that has no database: a file.

package consumers

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strconv"
)

// Journal is a file with a line for each transaction: what has come of the events, here no more than
// which they were, the Seen of their shards, and Epochs that have changed. A line that a crash has cut off does not count. A bot
// with a database has a transaction of that instead.
type Journal struct {
	file   *os.File // nil: nothing is kept
	seen   map[int]*Seen
	epochs Epochs
}

// record is a line.
type record struct {
	Done   [][4]any       `json:"done"` // name, shard, session, seq
	Seen   map[int]string `json:"seen"`
	Epochs Epochs         `json:"epochs,omitempty"`
}

// OpenJournal opens the file, or makes it. With an empty name nothing is kept.
func OpenJournal(name string) (*Journal, error) {
	j := &Journal{seen: make(map[int]*Seen), epochs: Epochs{}}
	if name == "" {
		return j, nil
	}
	f, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return nil, err
	}
	text, err := io.ReadAll(f)
	whole := bytes.LastIndexByte(text, '\n') + 1
	if err == nil {
		err = f.Truncate(int64(whole))
	}
	for line := range bytes.Lines(text[:whole]) {
		var r record
		if err == nil {
			err = json.Unmarshal(line, &r)
		}
		for shard, text := range r.Seen {
			if err == nil {
				j.seen[shard], err = ParseSeen(text)
			}
		}
		for queue, shards := range r.Epochs {
			for shard, epoch := range shards {
				j.epochs.Note(queue, shard, epoch)
			}
		}
	}
	if err != nil {
		f.Close()
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	j.file = f
	return j, nil
}

// Process works on those of the events that it has not processed, and notes them in one transaction.
// After an error the journal is opened anew.
func (j *Journal) Process(events []Event) error {
	r := record{Done: [][4]any{}, Seen: map[int]string{}, Epochs: Epochs{}}
	for i := range events {
		e := &events[i]
		if j.epochs.Former(e.Queue, e.Shard, e.Epoch, e.Redelivered) {
			continue
		}
		if j.epochs.Note(e.Queue, e.Shard, e.Epoch) {
			r.Epochs.Note(e.Queue, e.Shard, e.Epoch)
		}
		s := j.seen[e.Shard]
		if s == nil {
			s = new(Seen)
			j.seen[e.Shard] = s
		}
		if s.Has(e.Session, e.Seq) {
			continue
		}
		e.Work()
		s.Add(e.Session, e.Seq)
		r.Done = append(r.Done, [4]any{e.Name, e.Shard, e.Session, e.Seq})
		r.Seen[e.Shard] = ""
	}
	if j.file == nil || len(r.Done) == 0 && len(r.Epochs) == 0 {
		return nil
	}
	for shard := range r.Seen {
		r.Seen[shard] = j.seen[shard].String()
	}
	line, err := json.Marshal(r)
	if err == nil {
		_, err = j.file.Write(append(line, '\n'))
	}
	if err == nil {
		err = j.file.Sync()
	}
	if err != nil {
		return fmt.Errorf("journal with shard %s: %w", strconv.Itoa(events[0].Shard), err)
	}
	return nil
}

// Close closes the file.
func (j *Journal) Close() error {
	if j.file == nil {
		return nil
	}
	return j.file.Close()
}
