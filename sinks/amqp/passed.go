// This file recognises commands that RabbitMQ hands out again, or that were forwarded twice, although they were sent.

package amqp

import "sync"

// passed are the last messages of a queue that the engine was given, by id. Those that a fleet has forwarded have one.
type passed struct {
	most int

	mu    sync.Mutex
	ids   map[string]*message
	order []string // of those that were sent
}

// message is one of them.
type message struct {
	sent  bool
	again []*held // the same, redelivered before it was sent
}

// again reports whether a message was given before: it is acknowledged when the first is sent, or at once.
func (p *passed) again(id string, h *held) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	m := p.ids[id]
	switch {
	case m == nil:
		return false
	case m.sent:
		h.done(nil)
	default:
		m.again = append(m.again, h)
	}
	return true
}

// begin notes that a message is given. Without an id it is not.
func (p *passed) begin(id string, h *held) {
	if id == "" {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.ids == nil {
		p.ids = make(map[string]*message)
	}
	p.ids[id] = new(message)
}

// end notes what has become of it, and returns it with those that were the same.
func (p *passed) end(id string, h *held, sent bool) []*held {
	p.mu.Lock()
	defer p.mu.Unlock()
	all := []*held{h}
	m := p.ids[id]
	if m == nil {
		return all
	}
	all = append(all, m.again...)
	m.sent, m.again = sent, nil
	if !sent {
		delete(p.ids, id)
		return all
	}
	if p.order = append(p.order, id); len(p.order) > p.most {
		delete(p.ids, p.order[0])
		p.order = p.order[1:]
	}
	return all
}
