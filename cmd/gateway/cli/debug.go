// This file serves what is needed to look into a running gateway.

package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/http/pprof"
	"runtime/metrics"
	"time"
)

// serveDebug serves Go's profiles and figures of the runtime on address until ctx
// is done. pprof's "cmdline" and "symbol" are left out: nothing of the settings
// is to be had here.
func serveDebug(ctx context.Context, address string, log *slog.Logger) error {
	l, err := net.Listen("tcp", address)
	if err != nil {
		return settingError{fmt.Errorf("debug.address: %w", err)}
	}
	mux := http.NewServeMux()
	mux.HandleFunc("/debug/pprof/", pprof.Index)
	mux.Handle("/debug/pprof/cmdline", http.NotFoundHandler())
	mux.HandleFunc("/debug/pprof/profile", pprof.Profile)
	mux.HandleFunc("/debug/pprof/trace", pprof.Trace)
	mux.HandleFunc("/debug/runtime", debugRuntime)
	srv := &http.Server{Handler: mux, ReadHeaderTimeout: 10 * time.Second}
	context.AfterFunc(ctx, func() { srv.Close() })
	go srv.Serve(l) // its end is the process's
	log.Info("profiles are served", "address", "http://"+l.Addr().String()+"/debug/pprof/")
	return nil
}

// debugFigures are the runtime's figures that are served, by the names they have
// in runtime/metrics.
var debugFigures = []string{
	"/cpu/classes/gc/total:cpu-seconds",
	"/gc/cycles/total:gc-cycles",
	"/gc/heap/allocs:bytes",
	"/gc/heap/allocs:objects",
	"/gc/heap/live:bytes",
	"/memory/classes/heap/objects:bytes",
	"/memory/classes/total:bytes",
	"/sched/goroutines:goroutines",
}

// debugRuntime answers with the figures as a JSON object.
func debugRuntime(w http.ResponseWriter, _ *http.Request) {
	samples := make([]metrics.Sample, len(debugFigures))
	for i, name := range debugFigures {
		samples[i].Name = name
	}
	metrics.Read(samples)
	figures := make(map[string]any, len(samples))
	for _, s := range samples {
		switch s.Value.Kind() {
		case metrics.KindUint64:
			figures[s.Name] = s.Value.Uint64()
		case metrics.KindFloat64:
			figures[s.Name] = s.Value.Float64()
		}
	}
	w.Header().Set("Content-Type", "application/json")
	json.NewEncoder(w).Encode(figures) // the caller may have gone
}
