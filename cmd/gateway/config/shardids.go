// This file reads and writes lists of shard ids.

package config

import (
	"fmt"
	"strconv"
	"strings"
)

// MaxShards bounds shard counts, and so the ids. The largest bots have some
// tens of thousands.
const MaxShards = 1 << 16

// ParseShardIDs returns the ids of a list such as "0-15,20" in ascending
// order. Every id may be named once.
func ParseShardIDs(text string) ([]int, error) {
	named := make([]bool, MaxShards)
	for part := range strings.SplitSeq(text, ",") {
		part = strings.TrimSpace(part)
		first, last, isRange := strings.Cut(part, "-")
		if !isRange {
			last = first
		}
		from, err := parseShardID(first, part)
		if err != nil {
			return nil, err
		}
		to, err := parseShardID(last, part)
		if err != nil {
			return nil, err
		}
		if to < from {
			return nil, fmt.Errorf("the range %s is backwards; did you mean %d-%d?", part, to, from)
		}
		for id := from; id <= to; id++ {
			if named[id] {
				return nil, fmt.Errorf("shard %d is named twice", id)
			}
			named[id] = true
		}
	}
	var ids []int
	for id, ok := range named {
		if ok {
			ids = append(ids, id)
		}
	}
	return ids, nil
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

func isDigits(s string) bool { return s != "" && strings.Trim(s, "0123456789") == "" }

// FormatShardIDs is the reverse of ParseShardIDs for ids in ascending order.
func FormatShardIDs(ids []int) string {
	var parts []string
	for i := 0; i < len(ids); i++ {
		first := ids[i]
		for i+1 < len(ids) && ids[i+1] == ids[i]+1 {
			i++
		}
		part := strconv.Itoa(first)
		if ids[i] > first {
			part += "-" + strconv.Itoa(ids[i])
		}
		parts = append(parts, part)
	}
	return strings.Join(parts, ",")
}
