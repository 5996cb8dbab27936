//go:build unix

// This file measures the two ways of writing batches: one call of the script for each, and
// XADDs in a pipeline.

package redis

import (
	"fmt"
	"strconv"
	"strings"
	"testing"

	"github.com/redis/rueidis"

	"sluice/sinks/sinktest/redistest"
)

// BenchmarkWrite writes entries of 753 bytes, 1,024 at a time. Beside the time it reports
// that of Redis' processor for an entry.
func BenchmarkWrite(b *testing.B) {
	const batch, keep = 1024, 20_000
	value := strings.Repeat("x", 753)
	for _, tt := range []struct {
		name    string
		command func(c rueidis.Client, sha string, n, at int) []rueidis.Completed
	}{
		{"script", func(c rueidis.Client, sha string, n, at int) []rueidis.Completed {
			keys, args := make([]string, n), make([]string, n)
			for i := range n {
				keys[i], args[i] = "MESSAGE_CREATE", value
			}
			return []rueidis.Completed{c.B().Arbitrary("EVALSHA", sha, strconv.Itoa(2+n)).Keys("fence").Keys(keys...).Keys("MESSAGE_CREATE").
				Args(strconv.Itoa(at), strconv.Itoa(at+n), "1", "", strconv.Itoa(keep)).Args(args...).Build()}
		}},
		{"pipeline", func(c rueidis.Client, _ string, n, _ int) []rueidis.Completed {
			cmds := make([]rueidis.Completed, n, n+1)
			for i := range cmds {
				cmds[i] = c.B().Xadd().Key("MESSAGE_CREATE").Id("*").FieldValue().FieldValue("data", value).Build()
			}
			return append(cmds, c.B().Xtrim().Key("MESSAGE_CREATE").Maxlen().Almost().Threshold(strconv.Itoa(keep)).Build())
		}},
		{"pipeline, trimmed by each", func(c rueidis.Client, _ string, n, _ int) []rueidis.Completed {
			cmds := make([]rueidis.Completed, n)
			for i := range cmds {
				cmds[i] = c.B().Xadd().Key("MESSAGE_CREATE").Maxlen().Almost().Threshold(strconv.Itoa(keep)).Id("*").FieldValue().FieldValue("data", value).Build()
			}
			return cmds
		}},
	} {
		b.Run(tt.name, func(b *testing.B) {
			server := redistest.Start(b)
			o, err := NewClientOption([]string{server.Addr}, nil)
			if err != nil {
				b.Fatal(err)
			}
			c, err := Connect(b.Context(), o)
			if err != nil {
				b.Fatal(err)
			}
			defer c.Close()
			sha, err := c.Do(b.Context(), c.B().ScriptLoad().Script(newScript(nil)).Build()).ToString()
			if err != nil {
				b.Fatal(err)
			}
			before := serverCPU(b, server)
			b.ReportAllocs()
			b.ResetTimer()
			for at := 0; at < b.N; at += batch {
				for _, r := range c.DoMulti(b.Context(), tt.command(c, sha, min(batch, b.N-at), at)...) {
					if err := r.Error(); err != nil {
						b.Fatal(err)
					}
				}
			}
			b.ReportMetric((serverCPU(b, server)-before)*1e9/float64(b.N), "redis-ns/entry")
			if n := strings.TrimSpace(server.CLI("XINFO", "STREAM", "MESSAGE_CREATE")); !strings.Contains(n, fmt.Sprintf("entries-added\n%d\n", b.N)) {
				b.Fatalf("%d entries were written, Redis says %s", b.N, n)
			}
		})
	}
}

// serverCPU returns the processor's time that a server has used, in seconds.
func serverCPU(b *testing.B, server *redistest.Server) (seconds float64) {
	for line := range strings.Lines(server.CLI("INFO", "cpu")) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), ":")
		if name == "used_cpu_user" || name == "used_cpu_sys" {
			s, err := strconv.ParseFloat(value, 64)
			if err != nil {
				b.Fatal(err)
			}
			seconds += s
		}
	}
	return seconds
}
