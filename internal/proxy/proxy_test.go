// This file tests connections through proxies.

package proxy

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"sluice/internal/proxy/proxytest"
)

const password = "very secret:pass@word/"

func mustParse(t *testing.T, address string) *url.URL {
	t.Helper()
	u, err := url.Parse(address)
	if err != nil {
		t.Fatal(err)
	}
	return u
}

// fixed is a Dialer.Proxy that knows one proxy.
func fixed(p *url.URL) func(*url.URL) (*url.URL, error) {
	return func(*url.URL) (*url.URL, error) { return p, nil }
}

// echo returns the address of a server that sends back what it gets.
func echo(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close()
				io.Copy(conn, conn)
			}()
		}
	}()
	return l.Addr().String()
}

// Each kind of proxy gets the name of the host as it stands in the URL, and what comes back is
// the TCP connection itself but for TLS to the proxy.
func TestDial(t *testing.T) {
	server := echo(t)
	web := httptest.NewUnstartedServer(nil) // for its certificate
	web.StartTLS()
	defer web.Close()
	roots := x509.NewCertPool()
	roots.AddCert(web.Certificate())
	for _, scheme := range []string{"http", "https", "socks5", "socks5h"} {
		for _, user := range []string{"", "user"} {
			t.Run(scheme+" "+user, func(t *testing.T) {
				o := proxytest.Options{SOCKS: strings.HasPrefix(scheme, "socks"), User: user, Resolve: func(string) string { return server }}
				p := &url.URL{Scheme: scheme}
				if scheme == "https" {
					o.Certificate = &web.TLS.Certificates[0]
				}
				if user != "" {
					o.Password = password
					p.User = url.UserPassword(user, password)
				}
				srv, err := proxytest.New(o)
				if err != nil {
					t.Fatal(err)
				}
				defer srv.Close()
				p.Host = srv.Addr()
				d := &Dialer{Proxy: fixed(p), TLS: &tls.Config{RootCAs: roots}, UserAgent: "x"}
				var want []string
				for target, address := range map[string]string{
					"wss://gateway.discord.gg/?v=10": "gateway.discord.gg:443", "ws://gateway.test": "gateway.test:80",
					"https://discord.com": "discord.com:443", "ws://[2001:db8::1]:8080": "[2001:db8::1]:8080", "ws://192.0.2.1:1": "192.0.2.1:1",
				} {
					conn, err := d.Dial(t.Context(), mustParse(t, target))
					if err != nil {
						t.Fatal(err)
					}
					if _, raw := conn.(*net.TCPConn); raw != (scheme != "https") {
						t.Errorf("the connection is a %T", conn)
					}
					sent := bytes.Repeat([]byte("ping"), 10_000)
					go conn.Write(sent)
					got := make([]byte, len(sent))
					if _, err := io.ReadFull(conn, got); err != nil || !bytes.Equal(got, sent) {
						t.Errorf("%s: %v", target, err)
					}
					conn.Close()
					want = append(want, address)
				}
				if got := srv.Targets(); !slices.Equal(got, want) {
					t.Errorf("the proxy was asked for %q, want %q", got, want)
				}
				if user != "" {
					p.User = url.UserPassword(user, "other")
					if _, err := d.Dial(t.Context(), mustParse(t, "wss://x")); err == nil || !strings.Contains(err.Error(), "user and password in its address") {
						t.Errorf("another password: %v", err)
					}
				}
			})
		}
	}
}

// answer returns a Dialer to a proxy of the scheme that reads something, answers each of the
// answers in turn, having read something before each, and closes unless it shall wait.
func answer(scheme string, wait bool, answers ...string) *Dialer {
	d := &Dialer{Proxy: fixed(&url.URL{Scheme: scheme, Host: "proxy:1", User: url.UserPassword("user", password)})}
	d.DialContext = func(context.Context, string, string) (net.Conn, error) {
		client, server := net.Pipe()
		go func() {
			request := make([]byte, 16<<10)
			for _, a := range answers {
				if _, err := server.Read(request); err != nil {
					return
				}
				io.WriteString(server, a)
			}
			if wait {
				io.Copy(io.Discard, server)
			}
			server.Close()
		}()
		return client, nil
	}
	return d
}

// What arrives behind the proxy's answer belongs to the connection.
func TestBytesBehindAnswer(t *testing.T) {
	for name, d := range map[string]*Dialer{
		"http":         answer("http", true, "HTTP/1.1 200 OK\r\nX: y\r\n\r\nearly"),
		"http interim": answer("http", true, "HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.0 204 No Content\r\n\r\nearly"),
		"socks5":       answer("socks5", true, "\x05\x00", "\x05\x00\x00\x01\x00\x00\x00\x00\x00\x00early"),
	} {
		conn, err := d.Dial(t.Context(), mustParse(t, "wss://gateway.discord.gg"))
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		got := make([]byte, 5)
		if _, err := io.ReadFull(conn, got); err != nil || string(got) != "early" {
			t.Errorf("%s: %q, %v", name, got, err)
		}
		conn.Close()
	}
}

// A proxy that refuses or breaks the protocol gives an error of one line that says so, with no
// password and nothing of what it has answered.
func TestRefused(t *testing.T) {
	const login = "\x05\x02"
	for _, c := range []struct {
		name, scheme string
		answers      []string
		want         string
	}{
		{"407", "http", []string{"HTTP/1.1 407 evil\r\nProxy-Authenticate: Basic\r\n\r\n"}, "refused with HTTP status 407: it wants another user"},
		{"403", "http", []string{"HTTP/1.1 403 evil\r\n\r\nevil"}, "CONNECT gateway.discord.gg:443 is refused with HTTP status 403"},
		{"302", "http", []string{"HTTP/1.1 302 evil\r\nLocation: http://evil\r\n\r\n"}, "302"},
		{"101", "http", []string{"HTTP/1.1 101 evil\r\n\r\n"}, "101"},
		{"garbage", "http", []string{"evil"}, "not HTTP"},
		{"another protocol", "http", []string{"HTTP/evil\r\n\r\n"}, "not HTTP"},
		{"huge head", "http", []string{"HTTP/1.1 200 OK\r\nX: " + strings.Repeat("evil", 10_000)}, "longer than 16 KiB"},
		{"many heads", "http", []string{strings.Repeat("HTTP/1.1 100 evil\r\n\r\n", 10_000)}, "longer than 16 KiB"},
		{"cut", "http", []string{"HTTP/1.1 200"}, "CONNECT gateway.discord.gg:443 has no answer: EOF"},
		{"nothing", "http", []string{""}, "has no answer: EOF"},
		{"socks4", "socks5", []string{"\x04\x00"}, "not SOCKS5"},
		{"http", "socks5", []string{"HTTP/1.1 400 evil\r\n\r\n"}, "not SOCKS5"},
		{"no method", "socks5", []string{"\x05\xff"}, "it wants another user"},
		{"unknown method", "socks5", []string{"\x05\x01"}, "not SOCKS5"},
		{"login", "socks5", []string{login, "\x01\x01"}, "refuses the user"},
		{"refused", "socks5", []string{login, "\x01\x00", "\x05\x05\x00\x01"}, "the connection to gateway.discord.gg:443 is refused: connection refused"},
		{"rules", "socks5", []string{login, "\x01\x00", "\x05\x02\x00\x01"}, "not allowed by its rules"},
		{"unknown reply", "socks5", []string{login, "\x01\x00", "\x05\x63\x00\x01"}, "unknown error 99"},
		{"unknown address", "socks5", []string{login, "\x01\x00", "\x05\x00\x00\x09"}, "not SOCKS5"},
		{"cut socks", "socks5", []string{login, "\x01\x00", "\x05\x00"}, "no answer: unexpected EOF"},
		{"no TLS", "https", []string{"evil evil evil"}, "first record does not look like a TLS handshake"},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := answer(c.scheme, false, c.answers...).Dial(t.Context(), mustParse(t, "wss://gateway.discord.gg"))
			if err == nil || !strings.HasPrefix(err.Error(), "proxy proxy:1: ") || !strings.Contains(err.Error(), c.want) {
				t.Fatalf("error %v, want %q", err, c.want)
			}
			if text := err.Error(); strings.Contains(text, "secret") || strings.Contains(text, "evil") || strings.Contains(text, "\n") || len(text) > 300 {
				t.Errorf("error %q", text)
			}
		})
	}
}

// A proxy that says nothing, or stops in the middle, is given up when the time is over, and at
// once when nobody waits any more.
func TestSilence(t *testing.T) {
	for _, c := range []struct {
		scheme  string
		answers []string
	}{
		{"http", []string{""}}, {"http", []string{"HTTP/1.1 200 OK\r\n"}}, {"https", []string{""}},
		{"socks5", []string{""}}, {"socks5", []string{"\x05\x02"}}, {"socks5", []string{"\x05\x00", "\x05\x00\x00\x03\xff"}},
	} {
		t.Run(fmt.Sprintf("%s %q", c.scheme, c.answers), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				d := answer(c.scheme, true, c.answers...)
				d.Timeout = 7 * time.Second
				began := time.Now()
				_, err := d.Dial(t.Context(), mustParse(t, "ws://x"))
				var late net.Error
				if !(errors.As(err, &late) && late.Timeout()) || time.Since(began) != 7*time.Second {
					t.Errorf("%v after %v", err, time.Since(began))
				}
				ctx, cancel := context.WithCancel(t.Context())
				time.AfterFunc(time.Second, cancel)
				began = time.Now()
				if _, err := d.Dial(ctx, mustParse(t, "ws://x")); err == nil || time.Since(began) != time.Second {
					t.Errorf("%v after %v", err, time.Since(began))
				}
			})
		})
	}
}

// ws counts as http, and wss as https. No error has a password.
func TestFor(t *testing.T) {
	var asked []string
	d := &Dialer{Proxy: func(u *url.URL) (*url.URL, error) {
		asked = append(asked, u.String())
		return nil, nil
	}}
	for _, target := range []string{"ws://a/x?y", "wss://a", "http://a:8080", "https://a"} {
		if p, err := d.For(mustParse(t, target)); p != nil || err != nil {
			t.Errorf("%s: %v, %v", target, p, err)
		}
	}
	if want := []string{"http://a:80", "https://a:443", "http://a:8080", "https://a:443"}; !slices.Equal(asked, want) {
		t.Errorf("asked for %q, want %q", asked, want)
	}
	d.Proxy = func(*url.URL) (*url.URL, error) { return nil, errors.New("bad proxy http://user:" + password) }
	if _, err := d.For(mustParse(t, "ws://a")); err == nil || strings.Contains(err.Error(), "secret") {
		t.Errorf("error %v", err)
	}
	d.Proxy = fixed(&url.URL{Scheme: "gopher", Host: "x", User: url.UserPassword("user", password)})
	if _, err := d.For(mustParse(t, "ws://a")); err == nil || strings.Contains(err.Error(), "secret") {
		t.Errorf("error %v", err)
	}
}

// script is a proxy that has answered before it was asked.
type script struct{ *bytes.Reader }

func (script) Write(p []byte) (int, error) { return len(p), nil }

// FuzzProxy: whatever a proxy answers, no more of it is read than is its own, and an error is a
// short line that quotes nothing of it.
func FuzzProxy(f *testing.F) {
	for _, s := range []string{
		"HTTP/1.1 200 OK\r\n\r\nmarker", "HTTP/1.1 407 marker\r\nProxy-Authenticate: Basic\r\n\r\n", "HTTP/1.1 100 x\r\n\r\nHTTP/1.1 200 x\n\nmarker",
		"\x05\x00\x05\x00\x00\x01\x00\x00\x00\x00\x00\x00marker", "\x05\x02\x01\x00\x05\x00\x00\x03\x04test\x00\x00", "\x05\x02\x01\x00\x05\x05\x00\x01",
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, answer []byte) {
		check := func(err error, left int) {
			if used := len(answer) - left; used > maxHead+1 {
				t.Errorf("%d bytes read", used)
			}
			if err == nil {
				return
			}
			if text := err.Error(); len(text) > 300 || strings.ContainsAny(text, "\r\n") || strings.Contains(text, "secret") || strings.Contains(text, "marker") {
				t.Errorf("error %q", text)
			}
		}
		user := url.UserPassword("user", password)
		r := script{bytes.NewReader(answer)}
		err := connect(r, user, "gateway.discord.gg:443", "x")
		check(err, r.Len())
		if used := answer[:len(answer)-r.Len()]; err == nil && !bytes.HasSuffix(used, []byte("\n\r\n")) && !bytes.HasSuffix(used, []byte("\n\n")) {
			t.Errorf("read %q", used)
		}
		r = script{bytes.NewReader(answer)}
		check(socks5(r, user, "gateway.discord.gg:443"), r.Len())
	})
}
