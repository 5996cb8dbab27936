// This file reads and writes lists of shard ids.

package config

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// MaxShards bounds shard counts, and so the ids. The largest bots have some
// tens of thousands.
const MaxShards = 1 << 16

// ParseShardIDs returns the ids of a list such as "0-15,20" in ascending
// order. Every id may be named once.
func ParseShardIDs(text string) ([]int, error) {
	var ids []int
	for part := range strings.SplitSeq(text, ",") {
		part = strings.TrimSpace(part)
		first, last, isRange := strings.Cut(part, "-")
		from, err := parseShardID(first, part)
		if err != nil {
			return nil, err
		}
		to := from
		if isRange {
			if to, err = parseShardID(last, part); err != nil {
				return nil, err
			}
		}
		if to < from {
			return nil, fmt.Errorf("the range %s is backwards; did you mean %d-%d?", part, to, from)
		}
		for id := from; id <= to; id++ {
			ids = append(ids, id)
		}
		if len(ids) > MaxShards {
			return nil, errRepeated(ids)
		}
	}
	slices.Sort(ids)
	return ids, errRepeated(ids)
}

// parseShardID reads one number of the part of a list.
func parseShardID(text, part string) (int, error) {
	text = strings.TrimSpace(text)
	id, err := strconv.ParseUint(text, 10, 64)
	switch {
	case part == "":
		return 0, fmt.Errorf("a number is missing between two commas or at an end")
	case err != nil && !isDigits(text):
		return 0, fmt.Errorf("%.40q is neither a shard id nor a range such as 0-15", part)
	case err != nil || id >= MaxShards:
		return 0, fmt.Errorf("shard %.40s is above the highest id, %d", text, MaxShards-1)
	}
	return int(id), nil
}

func isDigits(s string) bool {
	return s != "" && strings.Trim(s, "0123456789") == ""
}

// errRepeated returns an error for the first id that is there twice.
func errRepeated(ids []int) error {
	seen := make(map[int]bool, len(ids))
	for _, id := range ids {
		if seen[id] {
			return fmt.Errorf("shard %d is named twice", id)
		}
		seen[id] = true
	}
	return nil
}

// FormatShardIDs is the reverse of ParseShardIDs for ids in ascending order.
func FormatShardIDs(ids []int) string {
	var b []byte
	for i := 0; i < len(ids); {
		j := i + 1
		for j < len(ids) && ids[j] == ids[j-1]+1 {
			j++
		}
		if i > 0 {
			b = append(b, ',')
		}
		b = strconv.AppendInt(b, int64(ids[i]), 10)
		if j > i+1 {
			b = append(b, '-')
			b = strconv.AppendInt(b, int64(ids[j-1]), 10)
		}
		i = j
	}
	return string(b)
}
