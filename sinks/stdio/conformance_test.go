// This file runs the tests that every sink must pass.

package stdio

import (
	"bytes"
	"encoding/json"
	"sync"
	"testing"

	"sluice/sinks"
	"sluice/sinks/sinktest"
)

func TestSinkContract(t *testing.T) {
	sinktest.Run(t, func(t *testing.T) sinktest.Broker {
		var mu sync.Mutex
		var out bytes.Buffer
		return sinktest.Broker{
			Sink: func(*testing.T) sinks.Opener {
				return NewSink(writerFunc(func(b []byte) (int, error) {
					mu.Lock()
					defer mu.Unlock()
					return out.Write(b)
				}), JSON)
			},
			Read: func(t *testing.T) (all [][]byte) {
				mu.Lock()
				defer mu.Unlock()
				for line := range bytes.Lines(out.Bytes()) {
					var l struct{ Data json.RawMessage }
					if err := json.Unmarshal(line, &l); err != nil {
						t.Fatalf("%.100q: %v", line, err)
					}
					all = append(all, l.Data)
				}
				out.Reset()
				return all
			},
		}
	})
}

type writerFunc func(b []byte) (int, error)

func (f writerFunc) Write(b []byte) (int, error) { return f(b) }
