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
	// start takes over the shards. It calls begin for each of them in their
	// order, before it drives the first. It is called once.
	start(shards []*shard)
	// wake makes the owner call s.step soon. Any goroutine may call it, also
	// after the shard has stopped.
	wake(s *shard)
	// wait returns when every started shard has stopped and its connection
	// is closed.
	wait()
}

// dialFunc makes a connection to a gateway URL: TCP, TLS and the WebSocket
// handshake, all within ctx. rest is what arrived behind the handshake.
type dialFunc func(ctx context.Context, u *url.URL) (conn net.Conn, rest []byte, err error)
