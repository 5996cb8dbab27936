// This file keeps sessions for as long as the process lives.

// Package resume holds the stores of sessions.
package resume

import (
	"sync"

	"sluice/engine"
)

// Memory is an engine.SessionStore that lasts as long as the process. The zero
// value is empty and ready for use by any number of goroutines.
type Memory struct {
	mu       sync.Mutex
	sessions map[int]engine.Session
}

// Load returns the session that was last saved for the shard.
func (m *Memory) Load(shard int) (engine.Session, bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	s, ok := m.sessions[shard]
	return s, ok
}

// Save replaces the shard's session; the zero Session removes it.
func (m *Memory) Save(shard int, s engine.Session) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if s == (engine.Session{}) {
		delete(m.sessions, shard)
		return
	}
	if m.sessions == nil {
		m.sessions = make(map[int]engine.Session)
	}
	m.sessions[shard] = s
}
