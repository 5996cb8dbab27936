// This file holds the documentation of the package.

// Package sim is a simulated Discord: the REST calls that a bot makes to find
// its gateway, and a gateway that speaks the real protocol, version 10, to
// clients that were not written for it. It keeps a [Ledger] of everything it
// dispatched to every session, so that a test can say exactly which events a
// client lost or saw twice, and it stages faults from a script, a seed or by
// hand.
//
// # Life of an event
//
// Traffic, guild streams, answers to commands and [Server.Dispatch] all end in
// one place, session.dispatch: the event takes the session's next seq, is
// written down in the ledger, kept in the replay buffer and, when a connection
// is attached, put into its queue. The connection's writer takes it from there:
// it compresses, frames and writes it. Faults are items of the same queue, so
// that "after the hundredth event" is a place in the stream and not a moment.
//
// # Goroutines and locks
//
// A connection has a reader and a writer. The reader owns the parsing of what
// the client sends; the writer owns the compression context and all writing.
// Everything slow in between (a late READY, the guild stream, traffic, the
// expiry of sessions) runs on timers, so the whole server works inside a
// testing/synctest bubble on fake time, over a [Network] in memory.
//
// Locks are taken in the order session.mu, conn.mu, Server.mu, Ledger.mu, and
// none is held while writing to a socket.
//
// The protocol code is written from its description and shares nothing with
// the client in sluice/wire but the numbers of opcodes, close codes and intents,
// so that a misreading on one side is not repeated on the other.
package sim
