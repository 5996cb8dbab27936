// This file declares what drives the connections of shards.

package engine

import (
	"context"
	"net"
	"net/url"
)

// reader drives shards: it makes their connections, reads and writes their
// sockets and calls them when their time has come. All calls to a shard's
// methods are made by one goroutine, its owner.
type reader interface {
	// start gives the reader queues of the publisher, before any shard.
	start(p *publisher)
	// add takes over shards, which get wakers and queues. It calls begin for each of them in their
	// order, before it drives the first. When a shard has stopped, and its connection is closed,
	// the reader closes released and lets go of it. One goroutine at a time calls it.
	add(shards ...*shard)
	// status appends the goroutines that read, of those shards if each has its own. Any goroutine
	// may call it.
	status(dst []ReaderStatus, shards []*shard) []ReaderStatus
	// wait returns when every shard that was added is released. None is added any more.
	wait()
}

// ReaderKind names who reads the sockets.
type ReaderKind uint8

const (
	// ReaderGoroutine reads each connection on a goroutine of its own. It
	// works everywhere.
	ReaderGoroutine ReaderKind = iota
	// ReaderEpoll reads all connections on a few goroutines, each with an
	// epoll set. It is for Linux, and for connections that are file descriptors.
	ReaderEpoll
)

// newReader returns the reader of Options.Reader, but behind an https proxy that of
// goroutines. ctx is done when it shall make no more connections, of which main is the main
// URL.
func (e *Engine) newReader(ctx context.Context, main *url.URL) (reader, error) {
	switch {
	case e.opts.Reader != ReaderEpoll:
	case e.behindSecureProxy(main):
		e.opts.Log.Info("reading with a goroutine for each connection: the epoll reader cannot use an https proxy")
	default:
		return newLoopReader(ctx, e.dialer, &e.opts)
	}
	return &goroutineReader{ctx: ctx, dial: e.dialer(nil), queueBytes: e.opts.QueueBytes}, nil
}

// dialFunc makes a connection to a gateway URL: TCP, TLS and the WebSocket
// handshake, all within ctx. rest is what arrived behind the handshake.
type dialFunc func(ctx context.Context, u *url.URL) (conn net.Conn, rest []byte, err error)
