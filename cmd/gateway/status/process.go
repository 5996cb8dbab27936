// This file looks at the process itself.

package status

import (
	"bytes"
	"os"
	"runtime/metrics"
	"strconv"
)

var pid = os.Getpid()

// residentMemory returns the process's resident memory; where that is not known, what Go has from
// the system.
func residentMemory() uint64 {
	if statm, err := os.ReadFile("/proc/self/statm"); err == nil {
		if fields := bytes.Fields(statm); len(fields) > 1 {
			if pages, err := strconv.ParseUint(string(fields[1]), 10, 64); err == nil {
				return pages * uint64(os.Getpagesize())
			}
		}
	}
	total := []metrics.Sample{{Name: "/memory/classes/total:bytes"}, {Name: "/memory/classes/heap/released:bytes"}}
	metrics.Read(total)
	return total[0].Value.Uint64() - total[1].Value.Uint64()
}
