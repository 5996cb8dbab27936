// This file finds a documented event by its name, for what counts events without a map.

package wire

import "encoding/binary"

// eventTable has the documented events by a hash of their names, each with its place among
// EventNames and one more, at the hash or behind it; 0: nothing.
type eventTable struct {
	names []string
	at    [512]uint8
}

var events = newEventTable(EventNames())

func newEventTable(names []string) *eventTable {
	t := &eventTable{names: names}
	for i, name := range names {
		at := hashEvent([]byte(name))
		for t.at[at] != 0 {
			at = (at + 1) % len(t.at)
		}
		t.at[at] = uint8(i + 1)
	}
	return t
}

// hashEvent mixes the length with the first and the last bytes, in which the names differ most.
func hashEvent(name []byte) int {
	if len(name) < 4 {
		return 0
	}
	first, last := binary.LittleEndian.Uint32(name), binary.LittleEndian.Uint32(name[len(name)-4:])
	middle := binary.LittleEndian.Uint32(name[(len(name)-4)/2:])
	h := (first ^ middle*0x9E3779B1 ^ last*0x85EBCA6B ^ uint32(len(name))) * 0xC2B2AE35
	return int(h >> (32 - 9))
}

// EventIndex returns the place of the event among EventNames, or -1 if Discord does not document
// it for bots.
func EventIndex(name []byte) int {
	for at := hashEvent(name); ; at = (at + 1) % len(events.at) {
		i := events.at[at]
		if i == 0 {
			return -1
		}
		if string(name) == events.names[i-1] {
			return int(i - 1)
		}
	}
}
