// This file counts payloads by shard, opcode and event, for those who want the product of the three.

package engine

import (
	"sync/atomic"

	"sluice/wire"
)

// packetOps are the opcodes that are counted apart; what has another is counted as op -1.
var packetOps = [...]wire.Opcode{
	wire.OpDispatch, wire.OpHeartbeat, wire.OpIdentify, wire.OpPresenceUpdate, wire.OpVoiceStateUpdate, wire.OpResume, wire.OpReconnect,
	wire.OpRequestGuildMembers, wire.OpInvalidSession, wire.OpHello, wire.OpHeartbeatACK, wire.OpRequestSoundboardSounds, wire.OpRequestChannelInfo,
}

// PacketCount counts the payloads of a shard with an opcode and, for dispatches, a name: as
// NameCount.Name, but of all that were received, whether they are published or not.
type PacketCount struct {
	Shard          int
	Op             int // -1: one that is not known
	Name           string
	Received, Sent int64
}

// packetCounts are those of one shard, written by its owner.
type packetCounts struct {
	names          [numNames]atomic.Int64
	received, sent [len(packetOps) + 1]atomic.Int64
}

// opIndex returns the place of an opcode among packetOps, or the one behind.
func opIndex(op wire.Opcode) int {
	for i, o := range packetOps {
		if o == op {
			return i
		}
	}
	return len(packetOps)
}

// receive counts a payload; a dispatch by the place of its name.
func (p *packetCounts) receive(op wire.Opcode, name int) {
	if op == wire.OpDispatch {
		p.names[name].Add(1)
		return
	}
	p.received[opIndex(op)].Add(1)
}

func (p *packetCounts) send(op wire.Opcode) { p.sent[opIndex(op)].Add(1) }

func (p *packetCounts) appendTo(dst []PacketCount, shard int) []PacketCount {
	for i := range p.names {
		if n := p.names[i].Load(); n > 0 {
			dst = append(dst, PacketCount{Shard: shard, Op: int(wire.OpDispatch), Name: countedNames[i], Received: n})
		}
	}
	for i := range p.received {
		op := -1
		if i < len(packetOps) {
			op = int(packetOps[i])
		}
		if received, sent := p.received[i].Load(), p.sent[i].Load(); received > 0 || sent > 0 {
			dst = append(dst, PacketCount{Shard: shard, Op: op, Received: received, Sent: sent})
		}
	}
	return dst
}

// AppendPackets appends what Options.PacketCounts has counted since each shard was added, by shard.
func (e *Engine) AppendPackets(dst []PacketCount) []PacketCount {
	for _, s := range e.running.Load().list() {
		if s.packets != nil {
			dst = s.packets.appendTo(dst, s.id)
		}
	}
	return dst
}
