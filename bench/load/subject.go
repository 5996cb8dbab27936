// This file is a program under measurement: its process and its output.

package load

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"sluice/bench/sim"
	"sluice/sinks/sinktest"
	"sluice/wire"
)

const (
	// sampleEvery is how many events lie between two whose way is timed.
	sampleEvery = 16
	// peerSample is how many lie between two that a peer reports.
	peerSample = 4 * sampleEvery
)

// Subject is a program to measure.
type Subject struct {
	Name        string
	Gateway     bool     // it is this project's
	Command     []string // program and arguments
	Env         []string // besides what the protocol gives, or instead of it
	Compression string   // empty for one that can do what the scenario asks for
	// Mute says that it does not write what the protocol asks for: what the
	// simulator sent counts as received, and no event's way is timed.
	Mute bool
	// Baseline says that it is no client of Discord but writes to the broker by
	// itself: ADDR and PORT in the command are the broker's.
	Baseline bool
	// Stores says that it keeps its sessions in a file, with checkpoints.
	Stores bool
	// Observed says that it serves all that it can, and that observers use it.
	Observed bool
}

// Spectacles returns spec-tacles/gateway, whose program is the file, as a subject.
// It writes MessagePack that names neither shard nor seq, takes a list of
// intents' names where the protocol has a number, and publishes nothing unless
// it is given the events' names. It always uses zstd-stream.
func Spectacles(file string) Subject {
	return Subject{Name: "spec-tacles gateway", Command: []string{file}, Compression: zstd, Mute: true, Env: []string{
		"DISCORD_RAW_INTENTS=" + strconv.FormatUint(uint64(wire.UnprivilegedIntents), 10), "DISCORD_INTENTS=",
		"BROKER_TYPE=stdio", "DISCORD_EVENTS=" + strings.Join(sim.EventNames(), ","),
	}}
}

// process is a subject that runs.
type process struct {
	cmd    *exec.Cmd
	out    *os.File
	stderr tail
	mute   bool   // its output says nothing
	state  string // directory of the gateway's sessions and its control socket
	debug  string // base URL of the gateway's debug address; empty: none
	served string // host:port of status and page, of a Subject that is Observed
	scrape string // and of the metrics
	ended  chan struct{}

	mu      sync.Mutex
	shards  map[int]*shardSeen
	arrived []Written // of sampled events
	hello   struct{ Peer, Compression string }
}

// shardSeen is what was read of a shard's events.
type shardSeen struct {
	last  int64 // seq
	gaps  int64 // events that did not come between two that did, of a subject that writes all
	again int64 // events with a seq that is not above the one before
}

// start starts a subject against a simulator. shards is the count that it
// identifies with, ids those that it runs; empty: all.
func start(s Subject, at SimState, shards int, ids string) (*process, error) {
	protocol, host, _ := strings.Cut(strings.TrimSuffix(at.API, "/api/v10"), "://")
	p := &process{cmd: exec.Command(s.Command[0], s.Command[1:]...), mute: s.Mute, ended: make(chan struct{}), shards: make(map[int]*shardSeen)}
	p.cmd.SysProcAttr, p.cmd.WaitDelay = ownGroup(), stopTimeout
	p.cmd.Env = []string{
		"PATH=" + os.Getenv("PATH"), "HOME=" + os.Getenv("HOME"),
		"DISCORD_TOKEN=sim-token", "DISCORD_API_URL=" + at.API, "DISCORD_API_PROTOCOL=" + protocol, "DISCORD_API_HOST=" + host,
		"DISCORD_SHARD_COUNT=" + strconv.Itoa(shards), "DISCORD_COMPRESSION=" + s.Compression,
	}
	if ids != "" {
		p.cmd.Env = append(p.cmd.Env, "DISCORD_SHARD_IDS="+ids)
	}
	if at.CA != "" {
		p.cmd.Env = append(p.cmd.Env, "DISCORD_API_CA_FILE="+at.CA, "SSL_CERT_FILE="+at.CA, "NODE_EXTRA_CA_CERTS="+at.CA)
	}
	if s.Gateway {
		address, err := sinktest.Address()
		if err != nil {
			return nil, err
		}
		p.debug = "http://" + address
		if p.state, err = os.MkdirTemp("", "gateway-bench-state-"); err != nil {
			return nil, err
		}
		p.cmd.Env = append(p.cmd.Env, "DEBUG_ADDRESS="+address, "LOG_LEVEL=warn", "BROKER_TYPE=stdio", "SHARD_STORE_TYPE=memory", "SHARD_STORE_DIRECTORY="+p.state)
	} else {
		p.cmd.Env = append(p.cmd.Env, "DISCORD_INTENTS="+strconv.FormatUint(uint64(wire.UnprivilegedIntents), 10), // what the gateway asks for
			"BENCH_SAMPLE="+strconv.Itoa(peerSample))
	}
	p.cmd.Env = append(p.cmd.Env, s.Env...) // the last word
	if s.Stores {
		p.cmd.Env = append(p.cmd.Env, "SHARD_STORE_TYPE=file")
	}
	if s.Observed {
		if err := p.serves(); err != nil {
			return nil, err
		}
	}
	r, w, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	p.out, p.cmd.Stdout, p.cmd.Stderr = r, w, &p.stderr
	err = p.cmd.Start()
	w.Close()
	if err != nil {
		r.Close()
		return nil, fmt.Errorf("load: start %s: %w", s.Name, err)
	}
	go p.read()
	return p, nil
}

// maxLine is more than the gateway writes in a line, which max_message bounds.
const maxLine = 128 << 20

// read reads the output until it ends. It is part of the load on the machine, so
// it looks at the beginning of a line only.
func (p *process) read() {
	defer close(p.ended)
	buf := make([]byte, 1<<20)
	have := 0
	for {
		n, err := p.out.Read(buf[have:])
		if n > 0 && !p.mute {
			now := time.Now()
			text := buf[:have+n]
			p.mu.Lock()
			for {
				end := bytes.IndexByte(text, '\n')
				if end < 0 {
					break
				}
				p.line(text[:end], now)
				text = text[end+1:]
			}
			p.mu.Unlock()
			if len(text) == maxLine {
				have = 0 // no line of the protocol
			} else if len(text) == len(buf) {
				buf = append(buf, make([]byte, len(buf))...) // a line of megabytes
				have = len(text)
			} else {
				have = copy(buf, text)
			}
		}
		if err != nil {
			return
		}
	}
}

// line records what a line of output says. It is called with mu held.
func (p *process) line(text []byte, now time.Time) {
	shard, seq, ok := parseLine(text)
	if !ok {
		if bytes.HasPrefix(text, []byte(`{"peer":`)) {
			json.Unmarshal(text, &p.hello) // what is no JSON says nothing
		}
		return
	}
	p.event(shard, seq, now)
}

// event notes an event that has arrived. It is called with mu held.
func (p *process) event(shard int, seq int64, now time.Time) {
	s := p.shards[shard]
	if s == nil {
		s = new(shardSeen)
		p.shards[shard] = s
	}
	if s.last > 0 && seq > s.last+1 {
		s.gaps += seq - s.last - 1
	}
	if seq <= s.last {
		s.again++
	}
	s.last = seq
	if seq%sampleEvery == 0 {
		p.arrived = append(p.arrived, Written{shard, seq, now.UnixNano()})
	}
}

// parseLine returns the shard and the seq of a line like
// {"event":"NAME","shard":3,"seq":17,…
func parseLine(text []byte) (shard int, seq int64, ok bool) {
	const event, shardKey, seqKey = `{"event":"`, `","shard":`, `,"seq":`
	text, ok = bytes.CutPrefix(text, []byte(event))
	if !ok {
		return 0, 0, false
	}
	end := bytes.IndexByte(text, '"')
	if end < 0 {
		return 0, 0, false
	}
	if text, ok = bytes.CutPrefix(text[end:], []byte(shardKey)); !ok {
		return 0, 0, false
	}
	n, text := number(text)
	if text, ok = bytes.CutPrefix(text, []byte(seqKey)); !ok {
		return 0, 0, false
	}
	seq, _ = number(text)
	return int(n), seq, true
}

// number cuts digits off b.
func number(b []byte) (n int64, rest []byte) {
	i := 0
	for i < len(b) && '0' <= b[i] && b[i] <= '9' {
		n = n*10 + int64(b[i]-'0')
		i++
	}
	return n, b[i:]
}

// seen is what was read so far.
type seen struct {
	events int64 // the sum of the shards' last seqs
	gaps   int64
	again  int64
}

func (p *process) seen() (s seen) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, sh := range p.shards {
		s.events += sh.last
		s.gaps += sh.gaps
		s.again += sh.again
	}
	return s
}

// runtimeFigures asks the gateway's debug address; nil: it has none.
func (p *process) runtimeFigures() map[string]float64 {
	if p.debug == "" {
		return nil
	}
	resp, err := http.Get(p.debug + "/debug/runtime")
	if err != nil {
		return nil
	}
	defer resp.Body.Close()
	var figures map[string]float64
	if json.NewDecoder(resp.Body).Decode(&figures) != nil {
		return nil
	}
	return figures
}

// running reports whether the process has not ended by itself.
func (p *process) running() bool {
	select {
	case <-p.ended:
		return false
	default:
		return true
	}
}

// stopTimeout is how long a process has to end before it is made to.
const stopTimeout = 20 * time.Second

// stop ends the process and all that it started, with force if it takes too long.
// It returns how the process ended, if not well.
func (p *process) stop() error {
	pid := p.cmd.Process.Pid
	signalGroup(pid, syscall.SIGTERM)
	kill := time.AfterFunc(stopTimeout, func() {
		signalGroup(pid, syscall.SIGKILL)
		p.out.Close() // what has left the group may still hold the other end
	})
	<-p.ended
	err := p.cmd.Wait()
	kill.Stop()
	p.out.Close()
	if p.state != "" {
		os.RemoveAll(p.state)
	}
	return err
}
