// This file tests the WebSocket handshake.

package wire

import (
	"bufio"
	"crypto/sha1"
	"encoding/base64"
	"errors"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/gobwas/ws"
)

// shake runs a Handshake against a server that gives answer, in which $accept
// stands for the key's answer; behind it the server closes.
func shake(t *testing.T, answer string) (rest []byte, got *http.Request, err error) {
	t.Helper()
	client, server := net.Pipe()
	defer client.Close()
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer server.Close()
		var err error
		if got, err = http.ReadRequest(bufio.NewReader(server)); err != nil {
			t.Error(err)
			return
		}
		sum := sha1.Sum([]byte(got.Header.Get("Sec-WebSocket-Key") + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"))
		answer = strings.ReplaceAll(answer, "$accept", base64.StdEncoding.EncodeToString(sum[:]))
		io.WriteString(server, answer) // fails when the client has had enough
	}()
	u, err := url.Parse("wss://gateway.discord.gg/?v=10&encoding=json")
	if err != nil {
		t.Fatal(err)
	}
	rest, err = Handshake(client, u, "DiscordBot (x, 1)")
	client.Close()
	<-done
	return rest, got, err
}

const upgraded = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: $accept\r\n\r\n"

func TestHandshake(t *testing.T) {
	rest, req, err := shake(t, upgraded)
	if err != nil || len(rest) != 0 {
		t.Fatalf("%q, %v", rest, err)
	}
	if req.Host != "gateway.discord.gg" || req.RequestURI != "/?v=10&encoding=json" || req.Method != "GET" {
		t.Errorf("%s %s of %s", req.Method, req.RequestURI, req.Host)
	}
	for key, want := range map[string]string{"Upgrade": "websocket", "Connection": "Upgrade", "Sec-WebSocket-Version": "13", "User-Agent": "DiscordBot (x, 1)", "Sec-WebSocket-Extensions": ""} {
		if got := req.Header.Get(key); got != want {
			t.Errorf("%s: %q, want %q", key, got, want)
		}
	}

	// The first frames may come with the answer; they outlive another handshake.
	frame := string(serverFrame(nil, true, ws.OpText, payload(t, "hello")))
	if rest, _, err = shake(t, upgraded+frame); err != nil || string(rest) != frame {
		t.Fatalf("%q, %v", rest, err)
	}
	if _, _, err = shake(t, upgraded+strings.Repeat("x", 2000)); err != nil || string(rest) != frame {
		t.Fatalf("%q after another, %v", rest, err)
	}
}

func TestHandshakeRefused(t *testing.T) {
	for status, answer := range map[int]string{
		200: "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
		301: "HTTP/1.1 301 Moved Permanently\r\nLocation: wss://x/\r\n\r\n",
		403: "HTTP/1.1 403 Forbidden\r\nContent-Length: 20000\r\n\r\n" + strings.Repeat("<html>", 3000),
		429: "HTTP/1.1 429 Too Many Requests\r\nRetry-After: 5\r\n\r\nerror code: 1015",
		503: "HTTP/1.1 503 Service Unavailable\r\n\r\n",
	} {
		_, _, err := shake(t, answer)
		var refused *HandshakeError
		if !errors.As(err, &refused) || refused.Status != status {
			t.Errorf("%d: %v", status, err)
		}
	}
	for _, answer := range []string{
		"",
		"HTTP/1.1 101",
		"garbage\r\n\r\n",
		"HTTP/1.0 101 Switching Protocols\r\n\r\n",
		"HTTP/1.1 101 Switching Protocols\r\n\r\n",
		strings.Replace(upgraded, "$accept", "AAAAAAAAAAAAAAAAAAAAAAAAAAA=", 1),
		strings.Replace(upgraded, "Upgrade: websocket", "Upgrade: h2c", 1),
		strings.TrimSuffix(upgraded, "\r\n"),
		strings.TrimSuffix(upgraded, "\r\n") + "Sec-WebSocket-Extensions: permessage-deflate\r\n\r\n",
		"HTTP/1.1 101 " + strings.Repeat("x", 1<<20) + "\r\n\r\n",
	} {
		rest, _, err := shake(t, answer)
		var refused *HandshakeError
		if err == nil || errors.As(err, &refused) || !strings.HasPrefix(err.Error(), "wire: websocket handshake: ") || rest != nil {
			t.Errorf("%.80q: %q, %v", answer, rest, err)
		}
	}
}

// A server that says nothing is the caller's deadline to end.
func TestHandshakeDeadline(t *testing.T) {
	client, server := net.Pipe()
	defer client.Close()
	defer server.Close()
	client.SetDeadline(time.Unix(1, 0)) // long past
	_, err := Handshake(client, &url.URL{Scheme: "ws", Host: "x", Path: "/"}, "")
	if e := net.Error(nil); !errors.As(err, &e) || !e.Timeout() {
		t.Errorf("error %v", err)
	}
}

// What the server answers has a bound.
func TestHandshakeBound(t *testing.T) {
	client, server := net.Pipe()
	defer client.Close()
	sent := make(chan int)
	go func() {
		n := 0
		io.ReadFull(server, make([]byte, 100))
		go io.Copy(io.Discard, server)
		server.Write([]byte("HTTP/1.1 101 Switching Protocols\r\nX: "))
		for line := []byte(strings.Repeat("a", 1024)); n < 1<<20; n += len(line) {
			if _, err := server.Write(line); err != nil {
				break
			}
		}
		sent <- n
	}()
	u, _ := url.Parse("ws://gateway/")
	_, err := Handshake(client, u, "")
	client.Close()
	if n := <-sent; err == nil || !strings.Contains(err.Error(), "more than 16384 bytes") || n > 20<<10 {
		t.Errorf("%d bytes were read: %v", n, err)
	}
}
