// This file answers /tap.

package tap

import (
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
)

const (
	// writeEvery is how often what waits is written to one who looks.
	writeEvery = 100 * time.Millisecond
	// writeTimeout bounds a write: who reads nothing for so long is hung up on.
	writeTimeout = 10 * time.Second
	// quietFor is after how long without an event an empty line is written, which finds out
	// whether somebody is there.
	quietFor = 15 * time.Second
)

// ServeHTTP writes the events that pass as lines of JSON, until the client goes:
//
//	{"t":"MESSAGE_CREATE","shard":3,"s":77,"bytes":812,"d":{…}}
//	{"skipped":1200}
//
// d is left out of an event with more data than the parameter max. skipped counts the events that
// the filter may have let through, and that were left out above the rate; such a line comes once
// a second at most. An empty line means nothing.
//
// Parameters: event (names, with commas), shard (ids, with commas), guild (an id), rate (events a
// second), max (bytes).
func (s *Sink) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	f, err := ParseFilter(r.URL.Query())
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	t := newTap(f, time.Now())
	if !s.add(t) {
		http.Error(w, fmt.Sprintf("%d taps are open already, which is the most", maxTaps), http.StatusServiceUnavailable)
		return
	}
	defer s.remove(t)
	w.Header().Set("Content-Type", "application/x-ndjson")
	w.Header().Set("Cache-Control", "no-store")
	out := http.NewResponseController(w)
	ticker := time.NewTicker(writeEvery)
	defer ticker.Stop()
	var lines []byte
	var skipped int64
	var reported time.Time
	for wrote := (time.Time{}); ; {
		var more int64
		lines, more = t.take(lines)
		skipped += more
		now := time.Now()
		if skipped > 0 && now.Sub(reported) >= time.Second {
			lines = fmt.Appendf(lines, "{\"skipped\":%d}\n", skipped)
			skipped, reported = 0, now
		}
		if len(lines) == 0 && now.Sub(wrote) >= quietFor {
			lines = append(lines, '\n')
		}
		if len(lines) > 0 {
			wrote = now
			out.SetWriteDeadline(now.Add(s.timeout)) // what has none is not the network
			if _, err := w.Write(lines); err != nil {
				return
			}
			if err := out.Flush(); err != nil {
				return
			}
		}
		select {
		case <-ticker.C:
		case <-r.Context().Done():
			return
		}
	}
}

// ParseFilter reads the parameters of a request, as ServeHTTP has them. The error names the one
// that is wrong.
func ParseFilter(q url.Values) (f Filter, err error) {
	for _, name := range []string{"event", "shard", "guild", "rate", "max"} {
		text := q.Get(name)
		if text == "" {
			continue
		}
		switch name {
		case "event":
			f.Events = strings.Split(strings.ToUpper(text), ",")
		case "shard":
			for _, part := range strings.Split(text, ",") {
				id, err := strconv.Atoi(part)
				if err != nil || id < 0 {
					return f, fmt.Errorf("shard: %.40q is not the id of a shard; write 3, or 0,1,2", part)
				}
				f.Shards = append(f.Shards, id)
			}
		case "guild":
			if f.Guild, err = strconv.ParseUint(text, 10, 64); err != nil || f.Guild == 0 {
				return f, fmt.Errorf("guild: %.40q is not the id of a guild, which is a number such as 81384788765712384", text)
			}
		case "rate":
			if f.Rate, err = strconv.Atoi(text); err != nil || f.Rate < 1 || f.Rate > MaxRate {
				return f, fmt.Errorf("rate: %.40q is not a number of events from 1 to %d", text, MaxRate)
			}
		case "max":
			if f.MaxBytes, err = strconv.Atoi(text); err != nil || f.MaxBytes < 1 || f.MaxBytes > MaxMaxBytes {
				return f, fmt.Errorf("max: %.40q is not a number of bytes from 1 to %d", text, MaxMaxBytes)
			}
		}
	}
	for name := range q {
		if !slices.Contains([]string{"event", "shard", "guild", "rate", "max"}, name) {
			return f, fmt.Errorf("%.40q is no parameter; there are event, shard, guild, rate and max", name)
		}
	}
	return f, nil
}
