// This file keeps what no broker will ever take.

package broker

import (
	"encoding/json"
	"fmt"
	"os"
	"sync"
	"time"

	"sluice/sinks"
)

// DeadLetters is a file of events that a broker will never take, a line of JSON for
// each:
//
//	{"time":"…","reason":"…","event":"…","shard":3,"session":"…","seq":17,"data":{…}}
//
// It is bounded: when it is half as large as allowed it becomes <path>.1, in the
// place of the one before. Any number of goroutines may use it.
type DeadLetters struct {
	Path string
	Max  int64 // bytes in both files, by and large; 0: not bounded

	mu sync.Mutex
}

// deadLetter is a line of the file.
type deadLetter struct {
	Time    time.Time       `json:"time"`
	Reason  string          `json:"reason"`
	Event   string          `json:"event"`
	Shard   int             `json:"shard"`
	Session string          `json:"session"`
	Seq     int64           `json:"seq"`
	Data    json.RawMessage `json:"data,omitempty"`
	Text    string          `json:"text,omitempty"` // instead of data that is no JSON
}

// Put appends an event, and returns after it has been written to the disk. The file is
// opened for each: dead letters are rare, and whoever looks after the file may move
// it away.
func (d *DeadLetters) Put(ev *sinks.Event, reason error) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	session, seq := ev.Identity()
	letter := deadLetter{
		Time: time.Now().UTC(), Reason: reason.Error(), Event: string(ev.Type),
		Shard: ev.Shard, Session: session, Seq: seq,
	}
	if json.Valid(ev.Data) {
		letter.Data = ev.Data
	} else {
		letter.Text = string(ev.Data)
	}
	line, err := json.Marshal(letter)
	if err != nil {
		return fmt.Errorf("dead letter: %w", err)
	}
	if info, err := os.Stat(d.Path); err == nil && d.Max > 0 && info.Size() > 0 && info.Size()+int64(len(line)) > d.Max/2 {
		if err := os.Rename(d.Path, d.Path+".1"); err != nil {
			return fmt.Errorf("dead letter: %w", err)
		}
	}
	f, err := os.OpenFile(d.Path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("dead letter: %w", err)
	}
	_, err = f.Write(append(line, '\n'))
	if err == nil {
		err = f.Sync()
	}
	if e := f.Close(); err == nil {
		err = e
	}
	if err != nil {
		return fmt.Errorf("dead letter: %w", err)
	}
	return nil
}
