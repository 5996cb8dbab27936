// This file makes a gateway's URL and the WebSocket handshake.

package wire

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"strconv"

	"github.com/gobwas/ws"
)

// GatewayURL returns the URL to connect to: base, a wss:// or ws:// URL with or
// without a path, and the query that asks for the version, JSON and the
// compression.
func GatewayURL(base string, version int, c Compression) (*url.URL, error) {
	u, err := url.Parse(base)
	if err != nil {
		return nil, fmt.Errorf("wire: gateway address: %w", err)
	}
	if u.Scheme != "wss" && u.Scheme != "ws" || u.Host == "" {
		return nil, fmt.Errorf("wire: gateway address %q is not a wss:// or ws:// URL", base)
	}
	if u.Path == "" {
		u.Path = "/"
	}
	q := u.Query()
	q.Set("v", strconv.Itoa(version))
	q.Set("encoding", "json")
	q.Del("compress")
	if c == CompressionZstd || c == CompressionZlib {
		q.Set("compress", c.String())
	}
	u.RawQuery = q.Encode()
	return u, nil
}

// HandshakeError means that the server did not upgrade the connection.
type HandshakeError struct {
	Status int // HTTP status
}

func (e *HandshakeError) Error() string {
	return fmt.Sprintf("wire: websocket handshake refused with HTTP status %d", e.Status)
}

// maxHead bounds the answer to a handshake with what has arrived behind it, in bytes.
const maxHead = 16 << 10

// boundedConn is a connection of which left bytes may be read.
type boundedConn struct {
	net.Conn
	left int
}

func (c *boundedConn) Read(p []byte) (int, error) {
	if c.left <= 0 {
		return 0, fmt.Errorf("the server's answer has more than %d bytes", maxHead)
	}
	n, err := c.Conn.Read(p[:min(len(p), c.left)])
	c.left -= n
	return n, err
}

// Handshake upgrades a connection to the WebSocket at u (RFC 6455, 4.1). userAgent is
// sent unless it is empty. rest is what arrived behind the answer; it belongs to the
// caller. Deadlines are the caller's. A server that refuses is reported by a
// *HandshakeError.
func Handshake(conn net.Conn, u *url.URL, userAgent string) (rest []byte, err error) {
	var d ws.Dialer
	if userAgent != "" {
		d.Header = ws.HandshakeHeaderHTTP{"User-Agent": {userAgent}}
	}
	br, _, err := d.Upgrade(&boundedConn{conn, maxHead}, u)
	if err != nil {
		var status ws.StatusError
		if errors.As(err, &status) {
			return nil, &HandshakeError{Status: int(status)}
		}
		return nil, fmt.Errorf("wire: websocket handshake: %w", err)
	}
	if br == nil {
		return nil, nil
	}
	rest = make([]byte, br.Buffered())
	_, err = io.ReadFull(br, rest)
	ws.PutReader(br)
	return rest, err
}
