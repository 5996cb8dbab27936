// This file makes the values of settings with names of Discord: events, intents, shards.

package config

import (
	"slices"
	"strconv"
	"strings"

	"sluice/engine"
	"sluice/sinks/redis"
	"sluice/wire"
)

// eventNames are names of events. One that is not documented may be right, for
// Discord adds events; one that cannot be an event's name is an error.
func eventNames(to *[]string) value {
	known := append(EventNames(), engine.GapEvent)
	return valueOf("list of names", to, showList, func(in input) []string {
		list := []string{}
		in.names("MESSAGE_CREATE", func(in input, name string) {
			switch {
			case slices.Contains(list, name):
				in.warnf("%s is named twice", name)
				return
			case slices.Contains(known, name):
			case !isEventName(name):
				in.errorf("%.60q cannot be an event's name%s", name, nameHint(name, known, "; leave events unset to publish all"))
			default:
				in.warnf("%.60q is not an event that Discord documents%s", name, didYouMean(name, known))
			}
			list = append(list, name)
		})
		return list
	})
}

// intentNames are names of intents.
func intentNames(c *Config) value {
	show := func(i wire.Intents) string {
		if c.is("rawintents") {
			return ""
		}
		return showList(namesOf(i))
	}
	return valueOf("list of names", &c.Intents, show, func(in input) (sum wire.Intents) {
		if n, ok := in.value.(int64); ok {
			in.intentNumber(n)
			return 0
		}
		in.names("GUILDS", func(in input, name string) {
			bit, ok := wire.ParseIntent(name)
			n, err := strconv.ParseInt(name, 0, 64)
			switch {
			case slices.Contains(wire.IntentNames(), name):
			case ok:
				in.warnf("%s is the old name of %s", name, bit)
			case name == "GUILD":
				bit = wire.IntentGuilds
				in.warnf("GUILD is not an intent; it counts as GUILDS")
			case err == nil:
				in.intentNumber(n)
			default:
				in.errorf("unknown intent %.60q%s", name, nameHint(name, wire.IntentNames(), "; leave intents unset for all but the privileged"))
			}
			sum |= bit
		})
		return sum
	})
}

// intentNumber is for a number in the place of names.
func (in input) intentNumber(n int64) {
	names := namesOf(wire.Intents(n))
	if n <= 0 || n >= int64(beyondIntents) || len(names) == 0 {
		in.errorf("%d is a number; write names, such as GUILDS, or set rawintents (DISCORD_RAW_INTENTS) to the number", n)
		return
	}
	in.errorf("%d is a number; set rawintents (DISCORD_RAW_INTENTS) to it, or write its names: %s", n, strings.Join(names, ","))
}

// nameHint returns what was probably meant by a name in a list that is none; all is what to do
// for all names.
func nameHint(name string, known []string, all string) string {
	switch {
	case strings.ContainsAny(name, " |;+"):
		return "; put commas between names"
	case name == "*" || strings.EqualFold(name, "all"):
		return all
	}
	return didYouMean(name, known)
}

// Intents that Discord has and gives no bot, and the first bit above all.
const (
	otherIntents  wire.Intents = 1<<17 | 1<<18 | 1<<19 | 1<<22 | 1<<23 | 1<<26 | 1<<27 | 1<<28
	beyondIntents wire.Intents = 1 << 29
)

// intentBits are the intents as a number.
func intentBits(c *Config) value {
	show := func(i wire.Intents) string {
		if !c.is("rawintents") {
			return ""
		}
		return strconv.FormatUint(uint64(i), 10)
	}
	return valueOf("number", &c.rawIntents, show, func(in input) wire.Intents {
		text, _ := in.value.(string)
		first, _, _ := strings.Cut(text, ",")
		if _, name := wire.ParseIntent(strings.TrimSpace(first)); name {
			in.errorf("%.60q is not a number; set intents (DISCORD_INTENTS) to names", text)
			return 0
		}
		i := wire.Intents(in.number(0, int64(beyondIntents-1)))
		if other := i & otherIntents; other != 0 && i < beyondIntents {
			in.warnf("%s is no intent that Discord documents for bots; it may close the connection with 4013", other)
		}
		return i
	})
}

// namesOf returns the names of the documented ones of the intents.
func namesOf(i wire.Intents) []string {
	return slices.DeleteFunc(wire.IntentNames(), func(name string) bool {
		bit, _ := wire.ParseIntent(name)
		return i&bit == 0
	})
}

// shardIDs is a list of numbers and ranges, or a text of them.
func shardIDs(to *[]int) value {
	return valueOf("list with ranges", to, func(ids []int) string { return show(FormatShardIDs(ids)) }, func(in input) []int {
		text, ok := in.value.(string)
		before := in.r.errors
		if !ok {
			list := in.list("0, 1")
			if len(list) == 0 && in.r.errors == before {
				in.errorf("names no shard; remove it to run all")
			}
			parts := make([]string, len(list))
			for i, v := range list {
				parts[i] = v.shardRange()
			}
			text = strings.Join(parts, ",")
		}
		if in.r.errors > before {
			return nil
		}
		ids, err := ParseShardIDs(text)
		if err != nil {
			in.errorf("%s", err)
		}
		return ids
	})
}

// shardRange returns a number or a text of a list of shards as text.
func (in input) shardRange() string {
	if n, ok := in.value.(int64); ok {
		in.number(0, MaxShards-1)
		return strconv.FormatInt(n, 10)
	}
	text, ok := in.value.(string)
	if !ok {
		want[int64](in, `0, or a range such as "0-15"`)
	} else if _, err := ParseShardIDs(text); err != nil {
		in.errorf("%s", err)
	}
	return text
}

// fields are the fields of an entry in Redis.
func fields(to *[]redis.Field) value {
	return valueOf("list of names", to, showList, func(in input) (list []redis.Field) {
		in.names("shard", func(in input, name string) {
			f, ok := redis.ParseField(name)
			if !ok {
				in.errorf("%.60q is none of event, shard, session, seq%s", name, didYouMean(name, []string{"event", "shard", "session", "seq"}))
			} else if slices.Contains(list, f) {
				in.errorf("%s is in the list twice", f)
			}
			list = append(list, f)
		})
		return list
	})
}
