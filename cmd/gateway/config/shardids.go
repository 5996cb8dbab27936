// This file reads and writes lists of shard ids.

package config

import (
	"cmp"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// MaxShards bounds shard counts, and so the ids. The largest bots have some
// tens of thousands.
const MaxShards = 1 << 16

// shardRange matches an id, or two with a dash between them.
var shardRange = regexp.MustCompile(`^([0-9]+)(?: *- *([0-9]+))?$`)

// ParseShardIDs returns the ids of a list such as "0-15,20" in ascending
// order. Every id may be named once.
func ParseShardIDs(text string) (ids []int, err error) {
	named := map[int]bool{}
	for part := range strings.SplitSeq(text, ",") {
		part = strings.TrimSpace(part)
		ends := shardRange.FindStringSubmatch(part)
		switch {
		case part == "":
			return nil, errors.New("a number is missing between two commas or at an end")
		case ends == nil:
			return nil, fmt.Errorf("%.40q is neither a shard id nor a range such as 0-15", part)
		}
		last := cmp.Or(ends[2], ends[1])
		from, _ := strconv.Atoi(ends[1]) // the largest int for a larger number
		to, _ := strconv.Atoi(last)
		switch {
		case from >= MaxShards:
			return nil, fmt.Errorf("shard %.40s is above the highest id, %d", ends[1], MaxShards-1)
		case to >= MaxShards:
			return nil, fmt.Errorf("shard %.40s is above the highest id, %d", last, MaxShards-1)
		case to < from:
			return nil, fmt.Errorf("the range %s is backwards; did you mean %d-%d?", part, to, from)
		}
		for id := from; id <= to; id++ {
			if named[id] {
				return nil, fmt.Errorf("shard %d is named twice", id)
			}
			named[id] = true
			ids = append(ids, id)
		}
	}
	slices.Sort(ids)
	return ids, nil
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
