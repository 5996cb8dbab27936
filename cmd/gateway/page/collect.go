// This file collects, for all viewers, and encodes what they get.

package page

import (
	"context"
	"encoding/json"
	"time"

	"sluice/cmd/gateway/status"
	"sluice/wire"
)

// picture is what was collected last. Nothing is kept of it while nobody watches.
type picture struct {
	version uint64    // how many were collected
	at      time.Time // zero: there is no picture
	shards  []status.Shard
	rows    []row
	samples uint64 // number of the next sample
	logs    uint64 // number of the next line

	head   []byte // the fields that both messages begin with
	change []byte // the message of what has changed since the one before, or nil: there was none
	full   []byte // the message of everything, or nil: not encoded yet
}

// Run collects, and keeps the history, until the context is done. Then viewers are disconnected.
// It is called once.
func (p *Page) Run(ctx context.Context) {
	defer close(p.stopped)
	step := time.NewTicker(historyStep * p.options.Period)
	defer step.Stop()
	second := time.NewTicker(p.options.Period)
	defer second.Stop()
	second.Stop()
	p.sample()
	for {
		select {
		case <-ctx.Done():
			return
		case <-step.C:
			p.sample()
		case <-p.wake:
			p.collect()
			second.Reset(p.options.Period)
		case <-second.C:
			if p.forget() {
				second.Stop()
			} else {
				p.collect()
			}
		}
	}
}

// sample adds to the history.
func (p *Page) sample() {
	if s := p.options.Summary(); s != nil {
		p.mu.Lock()
		p.history.add(sampleOf(s))
		p.mu.Unlock()
	}
}

// forget drops the picture if nobody watches.
func (p *Page) forget() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.viewers) > 0 {
		return false
	}
	p.picture = picture{version: p.picture.version}
	return true
}

// collect makes the next picture, and wakes the viewers.
func (p *Page) collect() {
	summary := p.options.Summary()
	var shards []status.Shard
	if summary != nil {
		shards = p.options.Shards()
	}
	at := time.Now()
	if summary != nil {
		at = summary.At
	}
	next := picture{version: p.picture.version + 1, at: at, shards: shards} // only this goroutine changes it
	var changed []row
	var gone []int
	next.rows, changed, gone = update(p.picture.rows, shards, at)
	next.head = head(summary, shards, at)

	p.mu.Lock()
	defer p.mu.Unlock()
	next.samples, next.logs = p.history.next, p.options.Logs.count()
	if !p.picture.at.IsZero() {
		next.change = p.changeMessage(&next, changed, gone)
	}
	p.picture = next
	for v := range p.viewers {
		v.notify()
	}
}

// changeMessage returns the message of what has changed since the picture. mu is held.
func (p *Page) changeMessage(next *picture, changed []row, gone []int) []byte {
	b := append([]byte("event: change\ndata: "), next.head...)
	b = append(b, `,"rows":`...)
	b = appendRows(b, changed)
	if len(gone) > 0 {
		list, _ := json.Marshal(gone)
		b = append(append(b, `,"gone":`...), list...)
	}
	b = append(b, `,"history":`...)
	b = p.history.between(b, p.picture.samples, next.samples)
	b = append(b, `,"log":`...)
	b = p.options.Logs.between(b, p.picture.logs, next.logs)
	return append(b, "}\n\n"...)
}

// head encodes what both messages begin with. It lacks the end of the object.
func head(summary *status.Status, shards []status.Shard, at time.Time) []byte {
	reshard := ""
	if summary != nil && summary.Reshard.AtWork() {
		reshard = summary.Reshard.Summary()
	}
	b, err := json.Marshal(struct {
		At      float64        `json:"at"`
		Status  *status.Status `json:"status"` // null: there is none yet
		Reshard string         `json:"reshard,omitempty"`
		Behind  behind         `json:"behind"`
	}{float64(at.UnixMilli()) / 1000, summary, reshard, findBehind(shards)})
	if err != nil { // a number that is none
		b, _ = json.Marshal(map[string]any{"at": at.Unix(), "status": nil, "error": err.Error()})
	}
	return b[:len(b)-1]
}

// fullMessage returns the message with everything of the picture, which is encoded when somebody asks
// for it. mu is held.
func (p *Page) fullMessage() []byte {
	c := &p.picture
	if c.full == nil {
		b := make([]byte, 0, len(c.head)+48*len(c.rows)+64<<10)
		b = append(append(b, "event: full\ndata: "...), c.head...)
		constant, _ := json.Marshal(map[string]any{"release": release(), "states": stateNames, "codes": codes(), "step": (historyStep * p.options.Period).Seconds()})
		b = append(append(b, ','), constant[1:len(constant)-1]...)
		b = append(b, `,"rows":`...)
		b = appendRows(b, c.rows)
		b = append(b, `,"history":`...)
		b = p.history.between(b, 0, c.samples)
		b = append(b, `,"log":`...)
		b = p.options.Logs.between(b, 0, c.logs)
		c.full = append(b, "}\n\n"...)
	}
	return c.full
}

// codes are the meanings of the close codes, and what follows them.
func codes() map[wire.CloseCode][2]string {
	all := make(map[wire.CloseCode][2]string)
	for _, c := range wire.CloseCodes() {
		all[c] = [2]string{c.String(), c.Action().String()}
	}
	return all
}
