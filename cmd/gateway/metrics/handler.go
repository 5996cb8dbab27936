// This file answers scrapes over HTTP.

package metrics

import (
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/klauspost/compress/gzip"
)

const (
	// maxScrapes are answered at a time. Each has a buffer of its own, which a slow reader keeps.
	maxScrapes = 4
	// writeTimeout bounds the write of an answer; Prometheus itself waits 10 s by default.
	writeTimeout = 10 * time.Second
)

// exchange is what answering a scrape needs.
type exchange struct {
	text []byte
	gzip *gzip.Writer
}

// ServeHTTP answers with the metrics as they are now.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		w.Header().Set("Allow", "GET, HEAD")
		http.Error(w, "metrics are read with GET", http.StatusMethodNotAllowed)
		return
	}
	select {
	case h.slots <- struct{}{}:
		defer func() { <-h.slots }()
	default:
		w.Header().Set("Retry-After", "1")
		http.Error(w, "too many scrapes at once; "+strconv.Itoa(maxScrapes)+" are answered", http.StatusServiceUnavailable)
		return
	}
	x := h.spare.Swap(nil)
	if x == nil {
		x = new(exchange)
	}
	defer h.spare.Store(x)
	x.text = h.Append(x.text[:0])

	// A server without a bound of its own would let a reader keep its slot.
	conn := http.NewResponseController(w)
	conn.SetWriteDeadline(time.Now().Add(h.timeout))
	header := w.Header()
	header.Set("Content-Type", "text/plain; version=0.0.4; charset=utf-8")
	header.Set("Cache-Control", "no-store")
	header.Set("Vary", "Accept-Encoding")
	if accepts(r.Header, "gzip") {
		header.Set("Content-Encoding", "gzip")
		if r.Method == http.MethodHead {
			return
		}
		x.compress(w)
	} else {
		header.Set("Content-Length", strconv.Itoa(len(x.text)))
		if r.Method == http.MethodHead {
			return
		}
		w.Write(x.text) // the client is gone if it fails
	}
	if conn.Flush() == nil {
		conn.SetWriteDeadline(time.Time{}) // other requests may follow on the connection
	}
}

// compress writes the text compressed.
func (x *exchange) compress(w io.Writer) {
	if x.gzip == nil {
		x.gzip, _ = gzip.NewWriterLevel(w, gzip.BestSpeed)
	} else {
		x.gzip.Reset(w)
	}
	if _, err := x.gzip.Write(x.text); err == nil {
		x.gzip.Close()
	}
}

// accepts reports whether a client takes an encoding.
func accepts(header http.Header, encoding string) bool {
	for _, list := range header.Values("Accept-Encoding") {
		for item := range strings.SplitSeq(list, ",") {
			name, parameter, _ := strings.Cut(item, ";")
			if strings.EqualFold(strings.TrimSpace(name), encoding) {
				q, found := strings.CutPrefix(strings.TrimSpace(parameter), "q=")
				weight, err := strconv.ParseFloat(q, 64)
				return !found || err == nil && weight > 0
			}
		}
	}
	return false
}
