// This file is what handlers write to.

package admin

import (
	"errors"
	"net/http"
	"time"
)

// piece is how much of a stream has the time of one write.
const piece = 64 << 10

// writer is a ResponseWriter that knows whether something was written, and gives each piece of a
// stream its time.
type writer struct {
	http.ResponseWriter
	control *http.ResponseController
	each    time.Duration // for a piece; 0: the server's time for the whole
	ends    func() bool   // before a piece: the client may see no more of it; may be nil
	wrote   bool
}

func newWriter(w http.ResponseWriter) *writer {
	return &writer{ResponseWriter: w, control: http.NewResponseController(w)}
}

// patient makes it that of a stream, which has no end. The client has the time d to take each piece.
func (w *writer) patient(d time.Duration) {
	w.each = d
	w.control.SetReadDeadline(time.Time{}) // else the connection would end with it; a test's writer has none
	w.extend()
}

func (w *writer) extend() {
	if w.each > 0 {
		w.control.SetWriteDeadline(time.Now().Add(w.each))
	}
}

func (w *writer) WriteHeader(code int) {
	w.wrote = true
	w.ResponseWriter.WriteHeader(code)
}

func (w *writer) Write(p []byte) (n int, err error) {
	if w.ended() {
		return 0, errEnded
	}
	w.wrote = true
	for w.each > 0 && len(p) > piece {
		w.extend()
		m, err := w.ResponseWriter.Write(p[:piece])
		if n += m; err != nil {
			return n, err
		}
		p = p[piece:]
	}
	w.extend()
	m, err := w.ResponseWriter.Write(p)
	return n + m, err
}

// errEnded is of a stream that was begun with a token that is none any more.
var errEnded = errors.New("http.token has changed")

func (w *writer) ended() bool { return w.ends != nil && w.ends() }

// FlushError is for http.ResponseController.
func (w *writer) FlushError() error {
	w.wrote = true
	w.extend()
	return w.control.Flush()
}

// Flush is for http.Flusher.
func (w *writer) Flush() { w.FlushError() }

// Unwrap is for http.ResponseController.
func (w *writer) Unwrap() http.ResponseWriter { return w.ResponseWriter }
