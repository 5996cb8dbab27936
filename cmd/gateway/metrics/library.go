// This file has the metrics of the process and of Go's runtime, which a library collects.

package metrics

import (
	"bytes"
	"time"

	vm "github.com/VictoriaMetrics/metrics"
)

// lines is the library's text. Its types and names do not all pass promtool: what is in the table is
// taken out of it.
type lines struct {
	bytes.Buffer
	at time.Time // when it was collected; zero: it was not
}

// libraryAge is how old the library's text may be. To make it a dozen files of /proc are read: with 64 shards
// that takes more than all else of a scrape. Prometheus scrapes more seldom by default, but others do each second.
const libraryAge = 5 * time.Second

func (l *lines) collect(now time.Time) {
	if !l.at.IsZero() && now.Sub(l.at) < libraryAge {
		return
	}
	l.at = now
	l.Reset()
	vm.WriteGoMetrics(l)
	vm.WriteProcMetrics(l)
	vm.WriteFDMetrics(l)
}

// copyLines appends the library's samples of the metric.
func copyLines(w *writer, s *snapshot) {
	for line := range bytes.Lines(s.library.Bytes()) {
		rest, found := bytes.CutPrefix(line, []byte(w.m.Name))
		if !found || len(rest) == 0 {
			continue
		}
		series := rest[0] == '{' || rest[0] == ' '
		if w.m.Type == Summary || w.m.Type == Histogram {
			for _, suffix := range []string{"_bucket{", "_sum ", "_count "} {
				series = series || bytes.HasPrefix(rest, []byte(suffix))
			}
		}
		if series {
			w.b = append(w.b, line...)
		}
	}
}
