// This file declares what is kept, and what a store must do.

// Package resume keeps what resumes a bot's shards over the end of the process: a
// checkpoint for each shard, written behind the events, in a store.
package resume

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"sync"
	"time"

	"sluice/engine"
	"sluice/sinks"
	"sluice/wire"
)

// Checkpoint is what resumes a shard, and whom it is for.
type Checkpoint struct {
	engine.Session
	Intents wire.Intents // that the session was begun with
	Bot     uint64       // FingerprintAt of the token and server that it was begun with; 0: neither these nor Intents are known
	At      time.Time    // when it was taken; stores keep it to the millisecond; zero: not known
}

// empty reports whether there is nothing to keep.
func (c *Checkpoint) empty() bool { return c.ID == "" && c.Gaps == [2]sinks.Gap{} }

// State is what a store holds.
type State struct {
	Checkpoints map[int]Checkpoint // by shard
	Starts      engine.Starts      // kept to the millisecond
	Unreadable  []error            // what Load has left out, each with its name
}

// Store keeps a State. One goroutine at a time calls its methods.
type Store interface {
	// Load returns what is stored. The caller owns it. A record that cannot be read is left
	// out, and costs no other.
	Load(ctx context.Context) (State, error)
	// Save stores the checkpoints of changes in place of those that their shards
	// had; the zero Checkpoint removes its shard's, and so does one that could not be
	// loaded again. Starts is stored unless it is zero. After an error any of them may be stored, and Save is called
	// again with all of them, or newer ones. Also without changes it looks, now and then, whether
	// what it has saved is there, and writes it again, or returns an error that is errLost.
	Save(ctx context.Context, changes State) error
	// Close releases the store.
	Close() error
}

// errLost says that checkpoints which were saved are not there: somebody has emptied the store, or
// it came back without them. All are to be saved again.
var errLost = errors.New("the store has lost checkpoints")

// Fingerprint returns what tells the sessions of one token from those of another. It
// says nothing about the token, which has 200 bits that nobody can guess.
func Fingerprint(token string) uint64 {
	sum := sha256.Sum256([]byte("sluice session of " + token))
	return binary.BigEndian.Uint64(sum[:])
}

// FingerprintAt returns what tells the sessions of one token at one server, named by its host,
// from those of another token or server.
func FingerprintAt(token, host string) uint64 { return Fingerprint(token + " at " + host) }

// apply makes changes to s.
func (s *State) apply(changes State) {
	if s.Checkpoints == nil {
		s.Checkpoints = make(map[int]Checkpoint)
	}
	changes = changes.checked()
	for shard, c := range changes.Checkpoints {
		if c.empty() {
			delete(s.Checkpoints, shard)
		} else {
			s.Checkpoints[shard] = c
		}
	}
	if changes.Starts != (engine.Starts{}) {
		s.Starts = changes.Starts
	}
}

// Memory is a Store that lasts as long as the process. The zero value is empty.
type Memory struct {
	mu    sync.Mutex
	state State
}

// Load returns a copy of what was saved.
func (m *Memory) Load(context.Context) (State, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	var s State
	s.apply(m.state)
	return s, nil
}

// Save keeps a copy of the changes.
func (m *Memory) Save(_ context.Context, changes State) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.state.apply(changes)
	return nil
}

// Close does nothing.
func (m *Memory) Close() error { return nil }
