// This file tests how figures are written, and the axes' round values.

package report

import (
	"math"
	"slices"
	"testing"
)

// Figures have three digits and the unit that fits them.
func TestFormat(t *testing.T) {
	for _, test := range []struct {
		unit unit
		v    float64
		want string
	}{
		{seconds, 0, "0"},
		{seconds, 3.2e-9, "3.20 ns"},
		{seconds, 4.56e-6, "4.56 µs"},
		{seconds, 999.4e-6, "999 µs"},
		{seconds, 999.9e-6, "1.00 ms"},
		{seconds, 0.0347, "34.7 ms"},
		{seconds, 1, "1 s"},
		{seconds, 90, "90 s"},
		{seconds, 180, "3 min"},
		{seconds, 7200, "2 h"},
		{seconds, -0.002, "-2 ms"},
		{micros, 2.05e-6, "2.05"},
		{micros, 61.6e-6, "61.6"},
		{micros, 12345e-6, "12,345"},
		{size, 0, "0"},
		{size, 512, "512 B"},
		{size, 6.2 * 1024, "6.20 KiB"},
		{size, 21.5 * (1 << 20), "21.5 MiB"},
		{size, 3 << 30, "3 GiB"},
		{share, 1.1, "110 %"},
		{share, 0.0031, "0.31 %"},
		{number, 536610.4, "536,610"},
		{number, 1234567, "1,234,567"},
		{number, -1234567, "-1,234,567"},
		{number, 2e10, "2.00e+10"},
		{number, 0.0004, "0.0004"},
		{number, 0.000004, "4.0e-06"},
		{number, 41, "41"},
		{number, 41.25, "41.2"},
		{number, math.NaN(), unknown},
		{number, math.Inf(-1), unknown},
		{seconds, 1e300, unknown},
	} {
		if got := test.unit.format(test.v); got != test.want {
			t.Errorf("unit %d, %g: %q, want %q", test.unit, test.v, got, test.want)
		}
	}
}

func TestUnitOf(t *testing.T) {
	for name, want := range map[string]unit{
		"bytes_per_shard":     size,
		"heartbeat_late_max":  seconds,
		"seconds_to_resume":   seconds,
		"events_per_second":   number,
		"shards_per_seconds":  number,
		"rss_growth_per_hour": size,
		"events_lost":         number,
		"":                    number,
	} {
		if got := unitOf(name); got != want {
			t.Errorf("%q: unit %d, want %d", name, got, want)
		}
	}
}

func TestTicks(t *testing.T) {
	for _, test := range []struct {
		lo, hi float64
		n      int
		want   []string
	}{
		{0, 80, 5, []string{"0", "20", "40", "60", "80"}},
		{0, 0.3, 5, []string{"0", "0.1", "0.2", "0.3"}},
		{-3, 15, 6, []string{"0", "5", "10", "15"}},
		{-30, 60, 6, []string{"-20", "0", "20", "40", "60"}},
		{0, 1.5, 5, []string{"0", "0.5", "1.0", "1.5"}},
		{0, 50000, 5, []string{"0", "10,000", "20,000", "30,000", "40,000", "50,000"}},
	} {
		values, step := ticks(test.lo, test.hi, test.n)
		var got []string
		for _, v := range values {
			got = append(got, tickText(v, step))
		}
		if !slices.Equal(got, test.want) {
			t.Errorf("%g to %g: %q, want %q", test.lo, test.hi, got, test.want)
		}
	}
}

func TestCeiling(t *testing.T) {
	for v, want := range map[float64]float64{0: 1, -4: 1, 61.6: 80, 100: 100, 0.3: 0.3, 9.44: 10, 1.1: 1.5, 101: 150} {
		if got := ceiling(v, 5); math.Abs(got-want) > 1e-9 {
			t.Errorf("%g: %g, want %g", v, got, want)
		}
	}
}

// A distribution ends where 99.9 % lie, on the line to the first point beyond.
func TestUpTo999(t *testing.T) {
	got := upTo999([][2]float64{{0.001, 0}, {0.01, 0.99}, {1, 0.9999}, {2, 1}})
	if n := len(got); n != 3 || got[2][1] != 0.999 || math.Abs(got[2][0]-0.1) > 1e-9 {
		t.Errorf("%v, want the end at 0.1", got)
	}
	if got := upTo999([][2]float64{{5, 1}}); !slices.Equal(got, [][2]float64{{5, 0.999}}) {
		t.Errorf("%v", got)
	}
}
