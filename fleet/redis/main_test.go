package redis

import (
	"testing"

	"sluice/sinks/sinktest"
)

func TestMain(m *testing.M) { sinktest.Main(m) }
