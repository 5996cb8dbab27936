// This file asks an HTTP proxy for a connection.

package proxy

import (
	"bufio"
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
)

// maxHead bounds what an HTTP proxy answers before the connection begins.
const maxHead = 16 << 10

// connect has an HTTP proxy connect to the address (RFC 9110, 9.3.6). No error quotes the
// answer, which may quote the request and with it the password.
func connect(conn io.ReadWriter, user *url.Userinfo, address, userAgent string) error {
	var b bytes.Buffer
	fmt.Fprintf(&b, "CONNECT %s HTTP/1.1\r\nHost: %s\r\n", address, address)
	if userAgent != "" {
		fmt.Fprintf(&b, "User-Agent: %s\r\n", userAgent)
	}
	if user != nil {
		password, _ := user.Password()
		fmt.Fprintf(&b, "Proxy-Authorization: Basic %s\r\n", base64.StdEncoding.EncodeToString([]byte(user.Username()+":"+password)))
	}
	b.WriteString("\r\n")
	if _, err := conn.Write(b.Bytes()); err != nil {
		return err
	}
	for left := maxHead; ; {
		head, err := readHead(conn, left)
		if err != nil {
			return fmt.Errorf("CONNECT %s has no answer: %w", address, err)
		}
		left -= len(head)
		answer, err := http.ReadResponse(bufio.NewReader(bytes.NewReader(head)), &http.Request{Method: http.MethodConnect})
		switch {
		case err != nil:
			return fmt.Errorf("CONNECT %s has no answer: %w", address, errNotHTTP)
		case answer.StatusCode/100 == 1 && answer.StatusCode != http.StatusSwitchingProtocols:
			continue // there is a final one behind it
		case answer.StatusCode == http.StatusProxyAuthRequired:
			return fmt.Errorf("CONNECT %s is refused with HTTP status 407: it wants another user and password in its address", address)
		case answer.StatusCode/100 != 2:
			return fmt.Errorf("CONNECT %s is refused with HTTP status %d", address, answer.StatusCode)
		}
		return nil
	}
}

// readHead reads the head of an answer and nothing behind it, which is no longer the proxy's:
// byte by byte, for what was read cannot be given back to a TCP connection.
func readHead(r io.Reader, limit int) ([]byte, error) {
	var head []byte
	for len(head) < limit {
		var c [1]byte
		if _, err := io.ReadFull(r, c[:]); err != nil {
			return nil, err
		}
		head = append(head, c[0])
		if len(head) <= len(httpPrefix) && head[len(head)-1] != httpPrefix[len(head)-1] {
			return nil, errNotHTTP
		}
		if bytes.HasSuffix(head, []byte("\n\r\n")) || bytes.HasSuffix(head, []byte("\n\n")) {
			return head, nil
		}
	}
	return nil, errTooLong
}

const httpPrefix = "HTTP/"

var (
	errTooLong = errors.New("its head is longer than 16 KiB")
	errNotHTTP = errors.New("it is not HTTP")
)
