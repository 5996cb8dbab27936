// Package metrics writes what can be seen of a running gateway in the text format of Prometheus.
// table.go has every metric; docs/metrics.md shows the same table.
package metrics

import (
	"io"
	"sync"
	"sync/atomic"
	"time"

	"sluice/engine"
	"sluice/fleet"
	"sluice/resume"
	"sluice/sinks"
)

// Source is where the values come from. What is nil is left out.
type Source struct {
	Version, Revision string // of this build
	Broker            string // broker.type

	Engine  Engine
	Sink    func() sinks.Status // the broker's, also where a spool stands before it
	Spool   func() SpoolStatus
	Store   func() resume.KeeperStatus
	Fleet   func() fleet.Snapshot
	Refused func() map[string]int64 // commands by reason, those that the engine has refused included; nil: they are all there are

	// PacketsMode is prometheus.packets; PacketsAuto by default.
	PacketsMode string
}

// Values of prometheus.packets: whether the metrics gateway_packets_received and gateway_packets_sent
// are written, which have a series for each event name of each shard. The engine counts them if its
// Options.PacketCounts is set.
const (
	PacketsAuto = "auto" // up to MaxPacketShards shards
	PacketsOn   = "on"
	PacketsOff  = "off"
)

// MaxPacketShards is with how many shards PacketsAuto still writes them.
const MaxPacketShards = 64

// Engine is what is used of an engine.Engine.
type Engine interface {
	Status() engine.Status
	AppendShards([]engine.ShardStatus) []engine.ShardStatus
	AppendPackets([]engine.PacketCount) []engine.PacketCount
}

// SpoolStatus is what the disk before a broker does.
type SpoolStatus struct {
	Active   bool  // new events go to the disk
	Bytes    int64 // on it
	MaxBytes int64 // that may be on it
	Oldest   time.Duration
	Events   int64 // that were written to it, in all
	Failing  bool  // the disk takes nothing
	Damaged  int64 // segments of which a part cannot be read
}

// Handler answers scrapes. Any goroutine may call its methods.
type Handler struct {
	src     Source
	timeout time.Duration            // writeTimeout; a test has less
	slots   chan struct{}            // one for each scrape that is answered
	spare   atomic.Pointer[exchange] // kept from one scrape to the next

	mu   sync.Mutex // guards what one scrape collects, and the next uses again
	snap snapshot
}

// New returns a Handler of src.
func New(src Source) *Handler {
	return &Handler{src: src, timeout: writeTimeout, slots: make(chan struct{}, maxScrapes)}
}

// Append appends the metrics as they are now.
func (h *Handler) Append(dst []byte) []byte {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.snap.collect(&h.src)
	w := writer{b: dst}
	for i := range table {
		w.family(&table[i], &h.snap)
	}
	return w.b
}

// WriteTo writes the metrics as they are now.
func (h *Handler) WriteTo(w io.Writer) (int64, error) {
	n, err := w.Write(h.Append(nil))
	return int64(n), err
}

// snapshot is what one scrape collects.
type snapshot struct {
	src     *Source
	now     time.Time
	engine  engine.Status
	shards  []engine.ShardStatus
	packets []engine.PacketCount
	sink    sinks.Status
	spool   SpoolStatus
	store   resume.KeeperStatus
	fleet   fleet.Snapshot
	refused map[string]int64
	library lines // of the metrics library: the process and Go's runtime
}

func (s *snapshot) collect(src *Source) {
	s.src = src
	if src.Engine != nil {
		s.engine = src.Engine.Status()
		s.shards = src.Engine.AppendShards(s.shards[:0])
		if s.packets = s.packets[:0]; src.packets(len(s.shards)) {
			s.packets = src.Engine.AppendPackets(s.packets)
		}
	}
	if src.Sink != nil {
		s.sink = src.Sink()
	}
	if src.Spool != nil {
		s.spool = src.Spool()
	}
	if src.Store != nil {
		s.store = src.Store()
	}
	if src.Fleet != nil {
		s.fleet = src.Fleet()
	}
	if src.Refused != nil {
		s.refused = src.Refused()
	}
	s.now = time.Now()
	s.library.collect(s.now)
}

// packets reports whether there are to be metrics by shard, opcode and event.
func (src *Source) packets(shards int) bool {
	switch src.PacketsMode {
	case PacketsOn:
		return true
	case PacketsOff:
		return false
	}
	return shards <= MaxPacketShards
}
