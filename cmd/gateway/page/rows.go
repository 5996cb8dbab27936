// This file has what the page's grid shows of every shard, and when it has changed.

package page

import (
	"math"
	"strconv"
	"time"

	"sluice/cmd/gateway/status"
	"sluice/engine"
)

// row is a shard in the grid.
type row struct {
	id         int
	state      int   // index of stateNames, or -1
	since      int64 // Unix time in seconds
	roundTrip  int64 // milliseconds
	rate       float64
	reconnects int64
	flags      int
}

const (
	flagPaused = 1 << iota // nothing is read of it
	flagLate               // the last heartbeat is not acknowledged in time
)

// lateACK is the age of a ready shard's last acknowledged heartbeat above which one is missing: Discord's
// interval is 41.25 s.
const lateACK = 60

// stateNames are the states in the order of the engine's numbers, which stand for them in a row.
var stateNames = func() (names []string) {
	for s := engine.Idle; s <= engine.Stopped; s++ {
		names = append(names, s.String())
	}
	return names
}()

var readyState = engine.Ready.String()

func stateIndex(name string) int {
	for i, n := range stateNames {
		if n == name {
			return i
		}
	}
	return -1
}

// rowOf returns the row of a shard that was looked at at a moment.
func rowOf(s *status.Shard, at time.Time) row {
	r := row{
		id:         s.ID,
		state:      stateIndex(s.State),
		since:      at.Unix() - int64(s.Since),
		roundTrip:  int64(math.Round(s.RoundTrip * 1000)),
		rate:       s.Rate,
		reconnects: s.Reconnects,
	}
	if s.Paused {
		r.flags |= flagPaused
	}
	if late(s) {
		r.flags |= flagLate
	}
	return r
}

// late reports whether a shard's heartbeat is not acknowledged in time.
func late(s *status.Shard) bool { return s.State == readyState && s.LastACK > lateACK }

// same reports whether a viewer who has the row r can do without the row n: rate and round trip
// always move a little, and since is rounded.
func (r row) same(n row) bool {
	return r.id == n.id && r.state == n.state && r.flags == n.flags && r.reconnects == n.reconnects &&
		abs(r.since-n.since) <= 2 && near(float64(r.roundTrip), float64(n.roundTrip), 5) && near(r.rate, n.rate, 1)
}

func abs(n int64) int64 { return max(n, -n) }

// near reports whether the difference is below a quarter, or small. Zero is near to nothing else.
func near(a, b, small float64) bool {
	if a == 0 || b == 0 {
		return a == b
	}
	d := math.Abs(a - b)
	return d <= small || d <= max(a, b)/4
}

// append appends the row as an array of JSON.
func (r row) append(dst []byte) []byte {
	dst = append(dst, '[')
	dst = strconv.AppendInt(dst, int64(r.id), 10)
	dst = append(dst, ',')
	dst = strconv.AppendInt(dst, int64(r.state), 10)
	dst = append(dst, ',')
	dst = strconv.AppendInt(dst, r.since, 10)
	dst = append(dst, ',')
	dst = strconv.AppendInt(dst, r.roundTrip, 10)
	dst = append(dst, ',')
	dst = appendFloat(dst, r.rate, 10)
	dst = append(dst, ',')
	dst = strconv.AppendInt(dst, r.reconnects, 10)
	dst = append(dst, ',')
	dst = strconv.AppendInt(dst, int64(r.flags), 10)
	return append(dst, ']')
}

// appendRows appends rows as an array.
func appendRows(dst []byte, rows []row) []byte {
	dst = append(dst, '[')
	for i, r := range rows {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = r.append(dst)
	}
	return append(dst, ']')
}

// update replaces rows, ascending by id, by those of the shards. It returns them, those that have
// changed, and the ids that are gone. Of a row that is the same the old one stays, so that many small
// changes are one in the end.
func update(rows []row, shards []status.Shard, at time.Time) (now, changed []row, gone []int) {
	now = make([]row, 0, len(shards))
	i := 0
	for k := range shards {
		n := rowOf(&shards[k], at)
		for ; i < len(rows) && rows[i].id < n.id; i++ {
			gone = append(gone, rows[i].id)
		}
		if i < len(rows) && rows[i].id == n.id {
			if rows[i].same(n) {
				n = rows[i]
			} else {
				changed = append(changed, n)
			}
			i++
		} else {
			changed = append(changed, n)
		}
		now = append(now, n)
	}
	for ; i < len(rows); i++ {
		gone = append(gone, rows[i].id)
	}
	return now, changed, gone
}
