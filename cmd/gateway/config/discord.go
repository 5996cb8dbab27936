// This file makes the values of settings with names of Discord: events, intents, shards.

package config

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"sluice/sinks"
	"sluice/sinks/redis"
	"sluice/wire"
)

// eventNames are names of events. One that is not documented may be right, for
// Discord adds events; one that cannot be an event's name is an error.
func eventNames(to *[]string) value {
	known := append(wire.EventNames(), sinks.GapEvent)
	return listOf(to, "list of names", "MESSAGE_CREATE", func(list []string, in input, name string) []string {
		switch {
		case slices.Contains(list, name):
			in.warnf("%s is named twice", name)
			return list
		case slices.Contains(known, name):
		case !isEventName(name):
			in.errorf("%.60q cannot be an event's name%s", name, nameHint(name, known, "; leave events unset to publish all"))
		default:
			in.warnf("%.60q is not an event that Discord documents%s", name, didYouMean(name, known))
		}
		return append(list, name)
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
	names := strings.Join(namesOf(wire.Intents(n)), ",")
	if n <= 0 || n >= beyondIntents || names == "" {
		in.errorf("%d is a number; write names, such as GUILDS, or set rawintents (DISCORD_RAW_INTENTS) to the number", n)
		return
	}
	in.errorf("%d is a number; set rawintents (DISCORD_RAW_INTENTS) to it, or write its names: %s", n, names)
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

// beyondIntents is the first bit above all intents that Discord has, for bots or others.
const beyondIntents = 1 << 29

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
		i := wire.Intents(in.number(0, beyondIntents-1))
		if other := i &^ wire.AllIntents; other != 0 && i < beyondIntents {
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

// autoIDs is the value of shards.ids for a fleet.
const autoIDs = "auto"

// shardIDs is a list of numbers and ranges, a text of them, or auto.
func shardIDs(to *[]int, auto *bool) value {
	type both struct {
		ids  []int
		auto bool
	}
	listed := shardList(to)
	return value{
		Takes: listed.Takes,
		read: func(in input) {
			if text, ok := in.value.(string); ok && strings.EqualFold(strings.TrimSpace(text), autoIDs) {
				*to, *auto = nil, true
				return
			}
			*auto = false
			listed.read(in)
		},
		show: func() string {
			if *auto {
				return show(autoIDs)
			}
			return listed.show()
		},
		get: func() any { return both{*to, *auto} },
		put: func(v any) { b := v.(both); *to, *auto = b.ids, b.auto },
	}
}

// shardList is a list of numbers and ranges, or a text of them.
func shardList(to *[]int) value {
	return valueOf("list with ranges", to, func(ids []int) string { return show(FormatShardIDs(ids)) }, func(in input) []int {
		text, ok := in.value.(string)
		before := in.r.errors
		if !ok {
			var parts []string
			for _, v := range in.list(`[0, 1] or "0-15,20"`) {
				part, before := fmt.Sprint(v.value), in.r.errors
				if kindOf(v.value) != kindText {
					want[int64](v, `0, or a range such as "0-15"`)
				}
				if _, err := ParseShardIDs(part); err != nil && in.r.errors == before {
					v.errorf("%s", err)
				}
				parts = append(parts, part)
			}
			text = strings.Join(parts, ",")
		}
		ids, err := ParseShardIDs(text)
		switch {
		case in.r.errors > before:
		case text == "":
			in.errorf("names no shard; remove it to run all")
		case err != nil:
			in.errorf("%s", err)
		}
		return ids
	})
}

// fields are the fields of an entry in Redis.
func fields(to *[]redis.Field) value {
	return listOf(to, "list of names", "shard", func(list []redis.Field, in input, name string) []redis.Field {
		f, ok := redis.ParseField(name)
		if !ok {
			in.errorf("%.60q is none of event, shard, session, seq%s", name, didYouMean(name, []string{"event", "shard", "session", "seq"}))
		} else if slices.Contains(list, f) {
			in.errorf("%s is in the list twice", f)
		}
		return append(list, f)
	})
}

// eventName is the form of an event's name.
var eventName = regexp.MustCompile(`^[A-Z0-9_]+$`)

func isEventName(name string) bool { return eventName.MatchString(name) }
