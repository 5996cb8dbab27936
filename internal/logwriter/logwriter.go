// This file is the writer.

// Package logwriter keeps a log that nobody reads, such as a full pipe or a terminal that has
// been stopped, from blocking whoever logs.
package logwriter

import (
	"bytes"
	"io"
	"sync"
	"time"
)

// Timeout bounds Flush and Close.
const Timeout = time.Second

// maxWrite bounds what is written at once, by whole lines.
const maxWrite = 64 << 10

// Writer is an io.Writer that never blocks: a goroutine writes what is buffered. Lines for which
// there is no room are dropped, and counted once half of the buffer is free again. Each call of
// Write has one line or more, with its end. Any goroutine may call the methods.
type Writer struct {
	w     io.Writer
	size  int
	count func(dropped int) []byte
	wake  chan struct{} // there is something to do
	done  chan struct{} // closed when the goroutine has ended

	mu      sync.Mutex // not held while w is written to
	lines   []byte     // buffered
	writing int        // bytes that are being written
	dropped int        // lines since the last count
	empty   chan struct{}
	stuck   bool // a Flush was in vain, and nothing was written since
	closed  bool
}

// New returns a Writer to w with a buffer of size bytes. count returns the line that says how many
// lines were dropped; it must not write to the Writer.
func New(w io.Writer, size int, count func(dropped int) []byte) *Writer {
	lw := &Writer{w: w, size: size, count: count, wake: make(chan struct{}, 1), done: make(chan struct{})}
	go lw.run()
	return lw
}

// Write buffers the line, or drops it. There is no error: nobody could report it.
func (w *Writer) Write(line []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	switch {
	case w.closed:
	case w.dropped > 0 || w.writing+len(w.lines)+len(line) > w.size:
		w.dropped += bytes.Count(line, newline)
	default:
		w.append(line)
		w.signal()
	}
	return len(line), nil
}

var newline = []byte("\n")

// append adds to the buffer. mu is held.
func (w *Writer) append(line []byte) {
	w.lines = append(w.lines, line...)
	if w.empty == nil {
		w.empty = make(chan struct{})
	}
}

// signal wakes the goroutine.
func (w *Writer) signal() {
	select {
	case w.wake <- struct{}{}:
	default:
	}
}

// Flush waits until everything has been written, Timeout at most. After one that was in vain it
// does not wait again before something is written.
func (w *Writer) Flush() {
	w.mu.Lock()
	empty := w.empty
	if w.stuck {
		empty = nil
	}
	w.mu.Unlock()
	if empty == nil {
		return
	}
	timer := time.NewTimer(Timeout)
	defer timer.Stop()
	select {
	case <-empty:
	case <-timer.C:
		w.mu.Lock()
		w.stuck = w.empty == empty
		w.mu.Unlock()
	}
}

// Close is Flush, and ends the goroutine, unless it is blocked. What is written from then on is
// dropped.
func (w *Writer) Close() error {
	w.mu.Lock()
	w.closed = true
	w.signal()
	stuck := w.stuck
	w.mu.Unlock()
	if stuck {
		return nil
	}
	timer := time.NewTimer(Timeout)
	defer timer.Stop()
	select {
	case <-w.done:
	case <-timer.C:
	}
	return nil
}

// run writes what is buffered until Close.
func (w *Writer) run() {
	defer close(w.done)
	torn := false // the last line was written in part
	for {
		chunk, ok := w.next()
		if !ok {
			return
		}
		if len(chunk) == 0 {
			<-w.wake
			continue
		}
		written := false
		if torn {
			chunk = append([]byte{'\n'}, chunk...)
		}
		// What an error keeps out, as of a full disk, is lost.
		if n, err := w.w.Write(chunk); n > 0 && n <= len(chunk) {
			torn = err != nil && chunk[n-1] != '\n'
			written = err == nil
		}
		w.mu.Lock()
		w.writing = 0
		w.stuck = w.stuck && !written
		w.mu.Unlock()
	}
}

// next takes whole lines from the buffer. ok is false once it is closed and empty.
func (w *Writer) next() (chunk []byte, ok bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.dropped > 0 && len(w.lines) <= w.size/2 {
		line := w.count(w.dropped)
		w.dropped = 0
		w.append(line)
	}
	if len(w.lines) == 0 {
		if w.lines = nil; w.empty != nil {
			close(w.empty)
			w.empty = nil
		}
		return nil, !w.closed
	}
	n := len(w.lines)
	if n > maxWrite {
		if n = bytes.LastIndexByte(w.lines[:maxWrite], '\n') + 1; n == 0 { // a long line
			n = bytes.IndexByte(w.lines, '\n') + 1
		}
		if n == 0 {
			n = len(w.lines)
		}
	}
	chunk, w.lines = w.lines[:n:n], w.lines[n:]
	w.writing = n
	return chunk, true
}
