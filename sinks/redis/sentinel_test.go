//go:build unix

// This file tests Sentinels that are reached over TLS.

package redis

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"sluice/sinks/sinktest"
	"sluice/sinks/sinktest/redistest"
)

// recorder listens, and sends the first byte of each connection, which it then closes.
func recorder(t *testing.T) (address string, first <-chan byte) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	bytes := make(chan byte, 100)
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			b := make([]byte, 1)
			if n, _ := conn.Read(b); n > 0 {
				bytes <- b[0]
			}
			conn.Close()
		}
	}()
	return l.Addr().String(), bytes
}

// Nothing is sent to a Sentinel in clear when its URL is rediss://.
func TestSentinelGetsNoPlaintext(t *testing.T) {
	t.Parallel()
	const handshake = 0x16 // the type of a record that has a ClientHello
	one, first := recorder(t)
	two, second := recorder(t)
	for _, secure := range []*tls.Config{nil, {MinVersion: tls.VersionTLS12}} {
		o, err := NewClientOption([]string{"rediss://bob:secret@" + one + "?master_set=events", two}, secure)
		if err != nil {
			t.Fatal(err)
		}
		if client, err := Connect(t.Context(), o); err == nil {
			client.Close()
			t.Fatal("connected to what does not answer")
		}
		for i, sent := range []<-chan byte{first, second} {
			if b := <-sent; b != handshake {
				t.Errorf("Sentinel %d gets %#x first, want a TLS handshake", i+1, b)
			}
		}
	}
}

// An address over TLS behind one without it would be reached in clear.
func TestMixedSchemes(t *testing.T) {
	if _, err := NewClientOption([]string{"redis://a?master_set=events", "rediss://b"}, nil); err == nil || !strings.Contains(err.Error(), "address 2") {
		t.Errorf("redis:// and rediss://: %v", err)
	}
	if _, err := NewClientOption([]string{"rediss://a?master_set=events", "b:26379"}, nil); err != nil {
		t.Error(err)
	}
}

// Sentinels and the master are each verified by the host that is dialed, or by the name that is set.
func TestSentinelTLS(t *testing.T) {
	t.Parallel()
	files := sinktest.NewCertificates(t)
	args := func(port int) []string {
		return []string{"tls-port", fmt.Sprint(port), "tls-cert-file", files.Server, "tls-key-file", files.ServerKey,
			"tls-ca-cert-file", files.Authority, "tls-auth-clients", "no", "tls-replication", "yes"}
	}
	master, port := sinktest.FreePort(t), sinktest.FreePort(t)
	options := args(master)
	for i := 0; i < len(options); i += 2 {
		options[i] = "--" + options[i]
	}
	redistest.Start(t, options...)
	text := fmt.Sprintf("sentinel monitor events 127.0.0.1 %d 1\n", master)
	options = args(port)
	for i := 0; i < len(options); i += 2 {
		text += options[i] + " " + options[i+1] + "\n"
	}
	conf := filepath.Join(t.TempDir(), "sentinel.conf")
	if err := os.WriteFile(conf, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	redistest.StartSentinel(t, conf)
	pem, err := os.ReadFile(files.Authority)
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(pem)
	// The certificate is for 127.0.0.1 and broker.example.com. The master is 127.0.0.1 to the Sentinel.
	for _, tt := range []struct {
		host, name string
		good       bool
	}{
		{"127.0.0.1", "", true}, {"127.0.0.1", "broker.example.com", true}, {"localhost", "broker.example.com", true},
		{"localhost", "", false}, {"127.0.0.1", "other.example.com", false},
	} {
		for _, also := range [][]string{nil, {"127.0.0.1:" + fmt.Sprint(sinktest.FreePort(t))}} { // nothing listens there
			addresses := append([]string{fmt.Sprintf("rediss://%s:%d?master_set=events", tt.host, port)}, also...)
			o, err := NewClientOption(addresses, &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: roots, ServerName: tt.name})
			if err != nil {
				t.Fatal(err)
			}
			client, err := Connect(context.Background(), o)
			if err == nil {
				client.Close()
			}
			if (err == nil) != tt.good {
				t.Errorf("%v with the name %q: %v", addresses, tt.name, err)
			}
		}
	}
}
