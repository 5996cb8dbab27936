// This file serves the viewers.

package page

import (
	"encoding/json"
	"errors"
	"net/http"
	"slices"
	"strconv"
	"time"

	"sluice/cmd/gateway/status"
)

// writeTimeout is how long a viewer may take to accept a message. TCP buffers it in part: one that
// does not read at all is noticed later.
const writeTimeout = 10 * time.Second

// viewer is one that reads the stream.
type viewer struct {
	woken chan struct{} // there is a picture that it does not have, or was
}

func (v *viewer) notify() {
	select {
	case v.woken <- struct{}{}:
	default:
	}
}

// enter adds a viewer.
func (p *Page) enter() *viewer {
	p.mu.Lock()
	defer p.mu.Unlock()
	v := &viewer{woken: make(chan struct{}, 1)}
	p.viewers[v] = struct{}{}
	if !p.picture.at.IsZero() {
		v.notify()
		return v
	}
	select {
	case p.wake <- struct{}{}:
	default:
	}
	return v
}

func (p *Page) leave(v *viewer) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.viewers, v)
}

// message returns what somebody with the picture of a version needs to have the newest, and its
// version. Version 0 is none; the message is nil if they have the newest.
func (p *Page) message(version uint64) ([]byte, uint64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if version == p.picture.version {
		return nil, version
	}
	if version != 0 && version+1 == p.picture.version && p.picture.change != nil {
		return p.picture.change, p.picture.version
	}
	return p.fullMessage(), p.picture.version
}

// serveStream sends server-sent events: "full", then "change" for each second, or "full" again for who
// was slow.
func (p *Page) serveStream(w http.ResponseWriter, r *http.Request) {
	v := p.enter()
	defer p.leave(v)
	h := w.Header()
	h.Set("Content-Type", "text/event-stream")
	h.Set("Cache-Control", "no-store")
	h.Set("X-Accel-Buffering", "no") // a proxy that buffers would send nothing for minutes
	out := http.NewResponseController(w)
	out.SetReadDeadline(time.Time{}) // the server's own would end the stream
	send := func(b []byte) error {
		if err := out.SetWriteDeadline(time.Now().Add(writeTimeout)); err != nil && !errors.Is(err, http.ErrNotSupported) {
			return err
		}
		if _, err := w.Write(b); err != nil {
			return err
		}
		return out.Flush()
	}
	if send([]byte(":\n\n")) != nil { // the headers, at once
		return
	}
	var version uint64
	for {
		select {
		case <-r.Context().Done():
			return
		case <-p.stopped:
			return
		case <-v.woken:
		}
		var b []byte
		if b, version = p.message(version); b != nil && send(b) != nil {
			return
		}
	}
}

// serveShard answers with all of a shard, as it was collected last. Somebody must watch.
func (p *Page) serveShard(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	h.Set("Content-Type", "application/json")
	h.Set("Cache-Control", "no-store")
	p.mu.Lock()
	shards, at := p.picture.shards, p.picture.at
	p.mu.Unlock()
	id, err := strconv.Atoi(r.PathValue("id"))
	i, found := slices.BinarySearchFunc(shards, id, func(s status.Shard, id int) int { return s.ID - id })
	if err != nil || !found {
		w.WriteHeader(http.StatusNotFound)
		w.Write([]byte("{}\n"))
		return
	}
	json.NewEncoder(w).Encode(struct {
		At    float64       `json:"at"`
		Shard *status.Shard `json:"shard"`
	}{float64(at.UnixMilli()) / 1000, &shards[i]})
}
