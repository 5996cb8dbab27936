// This file is the simulator in a process of its own, and the other end of it.

package load

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"sync"
	"time"

	"sluice/bench/sim"
)

// SimConfig is what a simulator is started with: the first line that ServeSim
// reads.
type SimConfig struct {
	TLS         bool
	Shards      int
	Rate        float64 // events a second and shard; negative: as many as are read
	Even        bool    // at a rate: evenly, and not at random moments
	Recorded    int     // events that each shard gets at most, compressed beforehand; 0: none
	Compression string  // of the recording and of guilds
	Guilds      int     // for each shard, at once and compressed beforehand; 0: none
	GuildBytes  int     // size of each guild
	Stored      bool    // compress nothing
	Heartbeat   time.Duration
	Replay      int   // events kept for a resume; 0: as Discord does
	Sample      int64 // write times are kept of events whose seq is a multiple
}

// SimState is what a simulator answers.
type SimState struct {
	API, CA    string // where it is; in the first answer only
	Connected  int    // connections with a session
	Connects   int
	Sessions   int
	Resumed    int
	Dispatched int64 // events, to all sessions
	Heartbeats int
	// Late is by how much the latest heartbeat came too late, or is overdue. Lag
	// is by how much the simulator itself was late to read at worst.
	Late, Lag time.Duration
	// Written are the times of sampled writes.
	Written []Written
}

// Written is when the event of a shard was first written to a connection.
type Written struct {
	Shard int
	Seq   int64
	At    int64 // nanoseconds since 1970
}

// simCommand is a line that a simulator carries out and answers with a SimState.
type simCommand struct {
	Do    string    // play, silence, cut, large, times, late or state
	Shard int       // cut: that one, or all if negative; large
	Count int       // large
	Bytes int       // large
	Since time.Time // late: heartbeats before are left out
}

// options returns what a simulator is made of, without what it plays.
func (c *SimConfig) options() sim.Options {
	return sim.Options{
		TLS: c.TLS, Shards: c.Shards, MaxConcurrency: c.Shards, IdentifyTotal: 100 * c.Shards, IdentifyWindow: time.Millisecond,
		RESTLimit: 1 << 20, HeartbeatInterval: c.Heartbeat, SendLimit: 1 << 20, Rate: c.Rate, Poisson: c.Rate > 0 && !c.Even, Hold: true,
		Guilds: -1, LargeEvents: -1, ReadyDelay: -1,
		Stored: c.Stored, Seed: 1, EventLimit: 200_000, LogLimit: 1 << 20, ReplayLimit: c.Replay,
	}
}

// ServeSim runs a simulator until ctx is done or in ends: it reads its
// configuration and then commands from in, and answers each on out. It is the
// other end of what Run starts.
func ServeSim(ctx context.Context, in io.Reader, out io.Writer) error {
	lines := json.NewDecoder(in)
	answers := json.NewEncoder(out)
	var c SimConfig
	if err := lines.Decode(&c); err != nil {
		return fmt.Errorf("load: simulator: %w", err)
	}
	o := c.options()
	compress := c.Compression
	if compress == "none" {
		compress = ""
	}
	var err error
	switch {
	case c.Recorded > 0:
		o.Recording, err = sim.Record(c.Recorded, compress)
	case c.Guilds > 0:
		o.Recording, err = sim.RecordGuilds(c.Guilds, c.GuildBytes, compress)
		o.Rate, o.Hold = -1, false
	}
	if err != nil {
		return err
	}
	var mu sync.Mutex
	written := make(map[Written]int64) // by the shard and the seq
	o.OnWrite = func(shard int, seqs []int64) {
		for _, seq := range seqs {
			if seq%c.Sample == 0 {
				mu.Lock()
				if w := (Written{Shard: shard, Seq: seq}); written[w] == 0 {
					written[w] = time.Now().UnixNano()
				}
				mu.Unlock()
			}
		}
	}
	srv, err := sim.New(o)
	if err != nil {
		return err
	}
	defer srv.Close()
	first := SimState{API: srv.APIURL()}
	if pem := srv.CertPEM(); pem != nil {
		f, err := os.CreateTemp("", "gateway-bench-*.pem")
		if err != nil {
			return err
		}
		defer os.Remove(f.Name())
		if _, err := f.Write(pem); err != nil {
			return errors.Join(err, f.Close())
		}
		if err := f.Close(); err != nil {
			return err
		}
		first.CA = f.Name()
	}
	if err := answers.Encode(first); err != nil {
		return err
	}
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	lag := new(lagLog)
	if err := lag.watch(ctx); err != nil {
		return fmt.Errorf("load: simulator: %w", err)
	}
	for ctx.Err() == nil {
		var cmd simCommand
		if err := lines.Decode(&cmd); err != nil {
			return nil // the harness has gone
		}
		state := SimState{}
		switch cmd.Do {
		case "play":
			srv.Play()
		case "silence":
			srv.Silence()
		case "cut":
			for shard := range c.Shards {
				if cmd.Shard < 0 || cmd.Shard == shard {
					srv.Cut(shard, shard%2 == 0)
				}
			}
		case "large":
			text := largeText(cmd.Bytes)
			for range cmd.Count {
				srv.Dispatch(cmd.Shard, "GUILD_CREATE", text)
			}
		case "times":
			mu.Lock()
			for w, at := range written {
				w.At = at
				state.Written = append(state.Written, w)
			}
			mu.Unlock()
		}
		s := srv.Ledger().Summary()
		state.Connected, state.Connects, state.Sessions = srv.Connected(), s.Connects, s.Sessions
		state.Resumed, state.Dispatched, state.Heartbeats = s.Resumed, s.Events, s.Heartbeats
		if cmd.Do == "late" {
			state.Late = lateness(srv.Ledger(), o.HeartbeatInterval, cmd.Since, time.Now())
			state.Lag = lag.since(cmd.Since)
		}
		if err := answers.Encode(state); err != nil {
			return err
		}
	}
	return nil
}

// largeText returns a JSON string of so many bytes that compresses like a guild.
func largeText(n int) []byte {
	text := make([]byte, max(n, 2))
	for i := range text {
		text[i] = 'a' + byte(i*i>>7%26)
	}
	text[0], text[len(text)-1] = '"', '"'
	return text
}

// lateness returns by how much a heartbeat since a moment came at most later than
// an interval after the one before on its connection, or after the Identify or
// Resume. One that had not come when its connection ended, or now, counts as if
// it came then.
func lateness(l beatLog, interval time.Duration, since, now time.Time) (late time.Duration) {
	last := make(map[int64]time.Time) // by connection: when its client was last heard
	for _, i := range l.Identifies() {
		last[i.Conn] = i.Time
	}
	for _, r := range l.Resumes() {
		last[r.Conn] = r.Time
	}
	heard := func(conn int64, at time.Time) {
		if before, ok := last[conn]; ok && at.After(since) {
			late = max(late, at.Sub(before)-interval)
		}
	}
	for _, b := range l.Heartbeats() {
		heard(b.Conn, b.Time)
		if b.Time.After(last[b.Conn]) { // not one before the Identify
			last[b.Conn] = b.Time
		}
	}
	for _, c := range l.Closes() {
		heard(c.Conn, c.Time)
		delete(last, c.Conn)
	}
	for conn := range last {
		heard(conn, now)
	}
	return late
}

// beatLog is the part of a sim.Ledger that says when clients were heard.
type beatLog interface {
	Identifies() []sim.Identify
	Resumes() []sim.Resume
	Heartbeats() []sim.Heartbeat
	Closes() []sim.Close
}

// simulator is a simulator in another process.
type simulator struct {
	cmd     *exec.Cmd
	in      io.WriteCloser
	out     *json.Decoder
	stderr  tail
	address SimState // the first answer
}

// startSimulator starts the program with ServeSim behind the arguments.
func startSimulator(program []string, c SimConfig) (*simulator, error) {
	if c.Sample == 0 {
		c.Sample = sampleEvery
	}
	s := &simulator{cmd: exec.Command(program[0], program[1:]...)}
	in, err := s.cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	out, err := s.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	s.cmd.Stderr = &s.stderr
	s.in, s.out = in, json.NewDecoder(bufio.NewReader(out))
	if err := s.cmd.Start(); err != nil {
		return nil, fmt.Errorf("load: simulator: %w", err)
	}
	if err = json.NewEncoder(in).Encode(c); err == nil {
		err = s.out.Decode(&s.address)
	}
	if err != nil {
		s.stop()
		return nil, fmt.Errorf("load: simulator: %w; it said %q", err, s.stderr.String())
	}
	return s, nil
}

// do has the simulator carry out a command.
func (s *simulator) do(c simCommand) (state SimState, err error) {
	if err = json.NewEncoder(s.in).Encode(c); err == nil {
		err = s.out.Decode(&state)
	}
	if err != nil {
		err = fmt.Errorf("load: simulator: %w; it said %q", err, s.stderr.String())
	}
	return state, err
}

func (s *simulator) stop() {
	s.in.Close()
	s.cmd.Wait() // how it ends says nothing about the subject
}

// tail keeps the last bytes that were written to it, for an error.
type tail struct {
	mu  sync.Mutex
	buf []byte
}

func (t *tail) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.buf = append(t.buf, p...)
	t.buf = t.buf[max(0, len(t.buf)-2000):]
	return len(p), nil
}

func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return string(t.buf)
}
