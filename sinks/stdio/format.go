// This file documents the package and names its formats.

// Package stdio writes events to standard output and reads commands from
// standard input.
//
// # Output
//
// In the format JSON each event is one line,
//
//	{"event":"MESSAGE_CREATE","shard":3,"seq":17,"data":{…}}
//
// ended by a line feed. The data is what Discord sent, byte for byte, but for
// one thing: line feeds and carriage returns, which JSON allows between tokens
// and never inside strings, become spaces. Discord sends none. An event without
// data has null. A line ends at its line feed and nowhere else: strings may
// hold U+2028 and U+2029, at which some readers of lines cut too.
//
// In the format MsgPack each event is a MessagePack map of two, with nothing
// between one and the next:
//
//	{"event": <name>, "data": <JSON text>}
//
// All four are raw strings of the old MessagePack specification (a0–bf, da,
// db), which every decoder takes for strings.
//
// In a fleet a line also has the keys epoch and owner, before data, and the map is one of seven:
// event, shard, seq, session, epoch, owner and data.
//
// # Input
//
// ReadCommands takes JSON lines and MessagePack maps in any order (package commands):
//
//	{"shard":3,"packet":{"op":3,"d":{…}}}
//	{"guild_id":"81384788765712384","packet":{"op":8,"d":{…}}}
//	{"event":"SEND","data":{"guild_id":"81384788765712384","packet":{…}}}
//	{"event":"3","data":{"op":3,"d":{…}}}
//
// The last two are those of the old gateway; their data may also be a string
// that holds the same as JSON.
package stdio

// Format is how events are written.
type Format uint8

const (
	JSON    Format = iota // a JSON object in a line for each event
	MsgPack               // a stream of MessagePack maps
)

var formatNames = [...]string{"json", "msgpack"}

// String returns the format's name in settings.
func (f Format) String() string { return formatNames[f] }
