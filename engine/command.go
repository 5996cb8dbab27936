// This file declares what enters the engine: commands from bots.

package engine

// Command is a payload that a bot asks a shard to send to Discord.
type Command struct {
	// Guild routes the command to the shard that serves this guild,
	// (Guild >> 22) % shard count. Zero means that Shard decides.
	Guild uint64
	// Shard is the id of the shard that sends the packet, when Guild is zero.
	Shard int
	// Packet is the payload to send, {"op":…,"d":…} as JSON. The engine
	// copies what it keeps.
	Packet []byte
	// Sent, if set, is called once the command, or an equal one that was pending, is
	// written to the connection, or a newer one has made it obsolete: whoever has it from a broker can
	// acknowledge it then. It is not called for one that Send has refused, nor
	// when the engine ends before. It must not wait; any goroutine may call it.
	Sent func()
}
