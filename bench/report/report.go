// This file documents the package and holds what a run of the load harness
// found.

// Package report keeps, compares and shows what the load harness measured.
//
// A Report is made by "gateway-bench run", kept as JSON, and shown as a table,
// as a page of HTML, and beside another Report.
package report

import "time"

// Version is that of the JSON form. A reader refuses any other.
const Version = 1

// Report is one run of the harness. Durations are in seconds and sizes in bytes
// wherever a name does not say otherwise.
type Report struct {
	Version   int        `json:"version"`
	Started   time.Time  `json:"started"`
	Seconds   float64    `json:"seconds"` // that the whole run took
	Gateway   string     `json:"gateway"` // version of the gateway that was measured
	Quick     bool       `json:"quick"`   // too short for its figures to mean much
	Machine   Machine    `json:"machine"`
	Scenarios []Scenario `json:"scenarios"`
}

// Machine is where a Report was made.
type Machine struct {
	CPU    string  `json:"cpu"`    // model
	Cores  int     `json:"cores"`  // that the process may use
	Memory int64   `json:"memory"` // total
	OS     string  `json:"os"`     // "linux/amd64"
	Kernel string  `json:"kernel"` // release
	Go     string  `json:"go"`     // that the gateway was built with
	Load   float64 `json:"load"`   // the load average over a minute, at the start
}

// Scenario is one kind of load and what each subject did under it.
type Scenario struct {
	Name     string    `json:"name"`
	About    string    `json:"about"` // a sentence
	Shards   int       `json:"shards"`
	Rate     float64   `json:"rate"` // events a second over all shards; 0: none, negative: as many as are read
	TLS      bool      `json:"tls"`
	Subjects []Subject `json:"subjects"`
}

// Subject is a program, or a setting of the gateway, that was measured.
type Subject struct {
	Name        string `json:"name"`    // such as "gateway epoll" or "discordgo 0.29.0"
	Gateway     bool   `json:"gateway"` // it is this project's
	Compression string `json:"compression"`
	Runs        []Run  `json:"runs"` // in the order in which they were made
}

// Run is one repetition: what happened in its window, which begins after the
// warm-up.
type Run struct {
	Seconds float64 `json:"seconds"` // length of the window
	Events  int64   `json:"events"`  // that the subject published in it
	User    float64 `json:"user"`    // CPU seconds of the subject's process in the window
	System  float64 `json:"system"`
	RSS     int64   `json:"rss"`     // at the window's end
	MaxRSS  int64   `json:"max_rss"` // in the process's life
	Heap    int64   `json:"heap"`    // live heap at the end; -1: not known
	Allocs  int64   `json:"allocs"`  // objects allocated in the window; -1: not known
	Threads int     `json:"threads"`
	// Goroutines at the window's end; -1: not known.
	Goroutines int     `json:"goroutines"`
	Latency    Latency `json:"latency"`
	// Figures are those of one scenario alone, by name, such as
	// "bytes_per_shard" or "heartbeat_late_max".
	Figures map[string]float64 `json:"figures,omitempty"`
	// Samples are taken all along the run, warm-up included.
	Samples []Sample `json:"samples,omitempty"`
	// Failure says why the figures do not count; empty: they do.
	Failure string `json:"failure,omitempty"`
}

// Latency is how long events took from the simulator's write to the subject's, in
// seconds.
type Latency struct {
	Count int64   `json:"count"` // events that were timed
	P50   float64 `json:"p50"`
	P90   float64 `json:"p90"`
	P99   float64 `json:"p99"`
	P999  float64 `json:"p999"`
	Max   float64 `json:"max"`
	// Curve is the distribution: at Curve[i][0] seconds lie Curve[i][1] of all,
	// 0 to 1; both rise.
	Curve [][2]float64 `json:"curve,omitempty"`
}

// Sample is the state of the subject's process at a moment.
type Sample struct {
	At  float64 `json:"at"`  // since the window's beginning; negative in the warm-up
	CPU float64 `json:"cpu"` // cores in use since the sample before
	RSS int64   `json:"rss"`
}
