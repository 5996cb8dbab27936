// This file has the metrics of the process and of Go's runtime.

package metrics

import "runtime"

var processMetrics = append([]Metric{
	{Name: "sluice_build_info", Type: Gauge, Unit: "1", Labels: labels("version", "revision", "goversion", "broker"),
		Help: "The build that runs, and its broker's type; always 1.",
		Look: "Changes with an upgrade.",
		values: func(w *writer, s *snapshot) {
			w.labelled(1, s.src.Version, s.src.Revision, runtime.Version(), s.src.Broker)
		}},
	library("process_cpu_seconds_total", Counter, "seconds", "CPU time of the process, user and system.",
		"Its rate is the number of cores in use. Near those it has: events and heartbeats become late."),
	library("process_resident_memory_bytes", Gauge, "bytes", "Memory of the process that is resident.",
		"Near the machine's or the container's: see `sluice_queue_bytes` and docs/performance.md."),
	library("process_virtual_memory_bytes", Gauge, "bytes", "Address space of the process.", "Nothing."),
	library("process_start_time_seconds", Gauge, "seconds", "When the process started, since 1970.", "Changes with a restart."),
	library("process_open_fds", Gauge, "files", "Open file descriptors.",
		"Each shard has one. Grows while the shards do not: a leak; report it."),
	library("process_max_fds", Gauge, "files", "File descriptors that the process may open.",
		"Must be well above the shards: `LimitNOFILE` of systemd, `ulimit -n`."),
	library("process_num_threads", Gauge, "threads", "Threads of the process.", "Nothing."),
	library("process_io_storage_written_bytes_total", Counter, "bytes", "Bytes written to disks: the spool, the store and dead letters.",
		"As `sluice_spool_bytes`."),
	library("process_pressure_cpu_waiting_seconds_total", Counter, "seconds", "Time for which something in the control group waited for CPU (Linux, PSI).",
		"Rises with late heartbeats: give it more CPU."),
	library("go_info", Gauge, "1", "The version of Go.", "Changes with an upgrade.", "version"),
	library("go_goroutines", Gauge, "goroutines", "Goroutines.",
		"With `reader.type` goroutine, about two for each shard. Grows while the shards do not: a leak; report it."),
	library("go_threads", Gauge, "threads", "Threads that Go has made.", "Nothing."),
	library("go_gomaxprocs", Gauge, "threads", "Threads that may run Go code at a time.", "Should be the cores that it has."),
	library("go_sched_latencies_seconds", Histogram, "seconds", "Time for which goroutines that could run waited.",
		"Rises: too little CPU."),
	library("go_gc_duration_seconds", Summary, "seconds", "Pauses of the garbage collector.", "Milliseconds are too much: report it."),
	library("go_gc_cpu_seconds_total", Counter, "seconds", "CPU time of the garbage collector.",
		"A large part of `process_cpu_seconds_total`: memory is near its limit."),
	library("go_memlimit_bytes", Gauge, "bytes", "Memory at which the garbage collector works harder (GOMEMLIMIT).",
		"Is set by the container's limit."),
}, memoryStatistics()...)

// library is a metric that the library collects.
func library(name, kind, unit, help, look string, labels ...string) Metric {
	return Metric{Name: name, Type: kind, Unit: unit, Labels: labels, Help: help, Look: look, values: copyLines}
}

// memoryStatistics are those of runtime.MemStats, which dashboards for Go have.
func memoryStatistics() (all []Metric) {
	for _, m := range []struct{ name, kind, unit, help string }{
		{"alloc_bytes", Gauge, "bytes", "Bytes of live objects, and of those not yet collected."},
		{"alloc_bytes_total", Counter, "bytes", "Bytes allocated."},
		{"buck_hash_sys_bytes", Gauge, "bytes", "Bytes of the profiler's tables."},
		{"frees_total", Counter, "objects", "Objects freed."},
		{"gc_sys_bytes", Gauge, "bytes", "Bytes of the garbage collector's metadata."},
		{"heap_alloc_bytes", Gauge, "bytes", "Bytes of the objects in the heap."},
		{"heap_idle_bytes", Gauge, "bytes", "Bytes of unused spans."},
		{"heap_inuse_bytes", Gauge, "bytes", "Bytes of spans in use."},
		{"heap_objects", Gauge, "objects", "Objects in the heap."},
		{"heap_released_bytes", Gauge, "bytes", "Bytes given back to the system."},
		{"heap_sys_bytes", Gauge, "bytes", "Bytes of the heap from the system."},
		{"last_gc_time_seconds", Gauge, "seconds", "When the last collection ended, since 1970."},
		{"lookups_total", Counter, "lookups", "Pointer lookups; always 0."},
		{"mallocs_total", Counter, "objects", "Objects allocated."},
		{"mcache_inuse_bytes", Gauge, "bytes", "Bytes of mcache structures in use."},
		{"mcache_sys_bytes", Gauge, "bytes", "Bytes of mcache structures from the system."},
		{"mspan_inuse_bytes", Gauge, "bytes", "Bytes of mspan structures in use."},
		{"mspan_sys_bytes", Gauge, "bytes", "Bytes of mspan structures from the system."},
		{"next_gc_bytes", Gauge, "bytes", "Size of the heap at which the next collection begins."},
		{"other_sys_bytes", Gauge, "bytes", "Bytes of other things from the system."},
		{"stack_inuse_bytes", Gauge, "bytes", "Bytes of stacks in use."},
		{"stack_sys_bytes", Gauge, "bytes", "Bytes of stacks from the system."},
		{"sys_bytes", Gauge, "bytes", "Bytes from the system."},
	} {
		all = append(all, library("go_memstats_"+m.name, m.kind, m.unit, m.help, "As `process_resident_memory_bytes`; for those who know Go's runtime."))
	}
	return all
}
