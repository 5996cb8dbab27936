// This file is a small gateway client for the tests, on nothing but the
// libraries: it must not share a line with the one that the simulator tests.

package sim

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gobwas/ws"
	"github.com/klauspost/compress/zlib"
	"github.com/klauspost/compress/zstd"
)

// message is a message from the server.
type message struct {
	T    string
	S    int64
	Op   int
	D    json.RawMessage
	Raw  []byte // decompressed
	Wire []byte // as it came
	Type ws.OpCode
}

// closed is the end of a connection: a close frame, or 1006 without one.
type closed struct {
	code   int
	reason string
	err    error
}

func (c closed) Error() string { return fmt.Sprintf("closed %d %q: %v", c.code, c.reason, c.err) }

// client is one connection.
type client struct {
	t     testing.TB
	nc    net.Conn
	in    io.Reader
	mode  string
	z     *feed
	dec   io.Reader
	zd    *zstd.Decoder
	pings int
	pongs int

	writeMu sync.Mutex
}

// feed gives a decompressor what came so far. It never ends: reading past what
// there is is a mistake of the test.
type feed struct{ buf bytes.Buffer }

var errDry = errors.New("read past the message")

func (f *feed) Read(p []byte) (int, error) {
	if f.buf.Len() == 0 {
		return 0, errDry
	}
	return f.buf.Read(p)
}

func (f *feed) ReadByte() (byte, error) {
	if f.buf.Len() == 0 {
		return 0, errDry
	}
	return f.buf.ReadByte()
}

// dialer connects to a server, over its network in memory if mem is set.
type dialer struct {
	srv *Server
	mem *Network
}

func (d dialer) netDial(ctx context.Context, network, addr string) (net.Conn, error) {
	if d.mem != nil {
		return d.mem.DialContext(ctx, network, addr)
	}
	return new(net.Dialer).DialContext(ctx, network, addr)
}

func (d dialer) tls() *tls.Config {
	if !d.srv.opt.TLS {
		return nil
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(d.srv.CertPEM())
	return &tls.Config{RootCAs: pool}
}

// http returns a client for REST calls; close its idle connections.
func (d dialer) http(t testing.TB) *http.Client {
	tr := &http.Transport{DialContext: d.netDial, TLSClientConfig: d.tls(), DisableKeepAlives: true}
	t.Cleanup(tr.CloseIdleConnections)
	return &http.Client{Transport: tr}
}

func (d dialer) dial(t testing.TB, url, query string) (*client, error) {
	t.Helper()
	wd := ws.Dialer{NetDial: d.netDial, TLSConfig: d.tls(), Timeout: 10 * time.Second}
	nc, br, _, err := wd.Dial(context.Background(), url+"/?"+query)
	if err != nil {
		return nil, err
	}
	c := &client{t: t, nc: nc, in: nc}
	if br != nil {
		c.in = io.MultiReader(bytes.NewReader(peek(br)), nc)
	}
	switch {
	case strings.Contains(query, "zlib-stream"):
		c.mode = "zlib"
	case strings.Contains(query, "zstd-stream"):
		c.mode = "zstd"
	}
	t.Cleanup(func() { c.drop() })
	return c, nil
}

func peek(br interface {
	Buffered() int
	Peek(int) ([]byte, error)
}) []byte {
	b, _ := br.Peek(br.Buffered())
	return bytes.Clone(b)
}

func (d dialer) mustDial(t testing.TB, url, query string) *client {
	t.Helper()
	c, err := d.dial(t, url, query)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// drop ends the connection without a word.
func (c *client) drop() {
	c.nc.Close()
	if c.zd != nil {
		c.zd.Close()
		c.zd = nil
	}
}

// frame writes a masked frame, from any goroutine.
func (c *client) frame(op ws.OpCode, payload []byte) error {
	f := ws.MaskFrameInPlaceWith(ws.NewFrame(op, true, bytes.Clone(payload)), [4]byte{1, 2, 3, 4})
	b, err := ws.CompileFrame(f)
	if err != nil {
		return err
	}
	c.writeMu.Lock()
	defer c.writeMu.Unlock()
	c.nc.SetWriteDeadline(time.Now().Add(5 * time.Second))
	_, err = c.nc.Write(b)
	return err
}

// send writes a text message.
func (c *client) send(msg string) {
	c.t.Helper()
	if err := c.frame(ws.OpText, []byte(msg)); err != nil {
		c.t.Logf("send: %v", err)
	}
}

// close writes a close frame; code 0 is one without a code.
func (c *client) close(code int) {
	var p []byte
	if code != 0 {
		p = binary.BigEndian.AppendUint16(nil, uint16(code))
	}
	c.frame(ws.OpClose, p)
}

// next reads the next message; PINGs are answered on the way.
func (c *client) next() (message, error) {
	var payload []byte
	var typ ws.OpCode
	for {
		h, err := ws.ReadHeader(c.in)
		if err != nil {
			return message{}, closed{1006, "", err}
		}
		if h.Masked || h.Rsv != 0 || h.OpCode.IsReserved() {
			return message{}, fmt.Errorf("frame header %+v", h)
		}
		p := make([]byte, h.Length)
		if _, err := io.ReadFull(c.in, p); err != nil {
			return message{}, closed{1006, "", err}
		}
		switch h.OpCode {
		case ws.OpPing:
			c.pings++
			c.frame(ws.OpPong, p)
			continue
		case ws.OpPong:
			c.pongs++
			continue
		case ws.OpClose:
			if len(p) < 2 {
				return message{}, closed{1005, "", nil}
			}
			return message{}, closed{int(binary.BigEndian.Uint16(p)), string(p[2:]), nil}
		case ws.OpContinuation:
			if typ == 0 {
				return message{}, errors.New("continuation of nothing")
			}
		default:
			if typ != 0 {
				return message{}, errors.New("message within a message")
			}
			typ = h.OpCode
		}
		payload = append(payload, p...)
		if h.Fin {
			break
		}
	}
	raw, err := c.inflate(typ, payload)
	if err != nil {
		return message{}, fmt.Errorf("inflate: %w", err)
	}
	var m message
	if err := json.Unmarshal(raw, &m); err != nil {
		return message{}, fmt.Errorf("%w in %q", err, raw[:min(100, len(raw))])
	}
	m.Raw, m.Wire, m.Type = raw, payload, typ
	return m, nil
}

// inflate decompresses a message.
func (c *client) inflate(typ ws.OpCode, p []byte) ([]byte, error) {
	if c.mode == "" && typ == ws.OpText {
		return p, nil
	}
	if typ != ws.OpBinary {
		return nil, fmt.Errorf("frame type %d under compression", typ)
	}
	if c.mode == "" {
		zr, err := zlib.NewReader(bytes.NewReader(p))
		if err != nil {
			return nil, err
		}
		return io.ReadAll(zr)
	}
	if c.z == nil {
		c.z = new(feed)
		c.z.buf.Write(p)
		if c.mode == "zlib" {
			zr, err := zlib.NewReader(c.z)
			if err != nil {
				return nil, err
			}
			c.dec = zr
		} else {
			zd, err := zstd.NewReader(c.z, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxWindow(1<<18))
			if err != nil {
				return nil, err
			}
			c.zd, c.dec = zd, zd
		}
	} else {
		c.z.buf.Write(p)
	}
	var msg json.RawMessage
	var out []byte
	if c.mode == "zlib" && !bytes.HasSuffix(p, []byte{0, 0, 0xFF, 0xFF}) {
		return nil, errors.New("no sync marker")
	}
	// A byte at a time for zlib, so that the inflater is never asked for what is
	// not there; the braces tell where the message ends.
	one := make([]byte, 1)
	depth, quoted, escaped := 0, false, false
	for {
		n, err := c.dec.Read(one)
		if n == 0 {
			return nil, fmt.Errorf("after %d bytes: %w", len(out), err)
		}
		out = append(out, one[0])
		switch b := one[0]; {
		case escaped:
			escaped = false
		case quoted && b == '\\':
			escaped = true
		case b == '"':
			quoted = !quoted
		case quoted:
		case b == '{' || b == '[':
			depth++
		case b == '}' || b == ']':
			if depth--; depth == 0 {
				msg = out
				return msg, nil
			}
		}
	}
}

// want reads until a message of a type ("" for any dispatch) or of an op.
func (c *client) want(op int, typ string) message {
	c.t.Helper()
	for {
		m, err := c.next()
		if err != nil {
			c.t.Fatalf("waiting for op %d %s: %v", op, typ, err)
		}
		if m.Op == op && (typ == "" || m.T == typ) {
			return m
		}
	}
}

// wantClose reads until the connection is closed and returns the code.
func (c *client) wantClose() closed {
	c.t.Helper()
	for {
		_, err := c.next()
		var end closed
		if errors.As(err, &end) {
			return end
		}
		if err != nil {
			c.t.Fatal(err)
		}
	}
}

const allIntents = 53608447

func identify(shard, count, intents int) string {
	return fmt.Sprintf(`{"op":2,"d":{"token":"sim-token","intents":%d,"properties":{"os":"linux","browser":"t","device":"t"},"shard":[%d,%d]}}`,
		intents, shard, count)
}

func resume(session string, seq int64) string {
	return fmt.Sprintf(`{"op":6,"d":{"token":"sim-token","session_id":%q,"seq":%d}}`, session, seq)
}

// session is what a client remembers of READY.
type ready struct {
	ID     string `json:"session_id"`
	URL    string `json:"resume_gateway_url"`
	Guilds []struct {
		ID          string
		Unavailable bool
	}
	Shard []int
	V     int
}

// ready reads READY.
func (c *client) ready() (ready, message) {
	c.t.Helper()
	m := c.want(0, "READY")
	var r ready
	if err := json.Unmarshal(m.D, &r); err != nil {
		c.t.Fatal(err)
	}
	return r, m
}

// start connects to the main gateway and identifies.
func (d dialer) start(t testing.TB, query string, shard, count, intents int) (*client, ready) {
	t.Helper()
	c := d.mustDial(t, d.srv.GatewayURL(), query)
	c.want(10, "")
	c.send(identify(shard, count, intents))
	r, _ := c.ready()
	return c, r
}
