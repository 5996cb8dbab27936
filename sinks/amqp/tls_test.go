//go:build linux

// This file tests connections with TLS, and logging in with a certificate.

package amqp

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"os"
	"testing"

	"sluice/sinks/sinktest"
	"sluice/sinks/sinktest/rabbitmq"
)

// certificates are those of a broker, and of a client named "robot".
type certificates struct {
	conf   string // of the node
	addr   string // of its TLS listener
	roots  *x509.CertPool
	client tls.Certificate
}

func newCertificates(t *testing.T) *certificates {
	t.Helper()
	files := sinktest.NewCertificates(t)
	c := &certificates{addr: fmt.Sprintf("127.0.0.1:%d", sinktest.FreePort(t)), roots: x509.NewCertPool()}
	pem, err := os.ReadFile(files.Authority)
	if err != nil || !c.roots.AppendCertsFromPEM(pem) {
		t.Fatalf("the authority's certificate: %v", err)
	}
	if c.client, err = tls.LoadX509KeyPair(files.Client, files.ClientKey); err != nil {
		t.Fatal(err)
	}
	c.conf = fmt.Sprintf(`listeners.ssl.1 = %s
ssl_options.cacertfile = %s
ssl_options.certfile = %s
ssl_options.keyfile = %s
ssl_options.verify = verify_peer
ssl_options.fail_if_no_peer_cert = false
auth_mechanisms.1 = PLAIN
auth_mechanisms.2 = EXTERNAL
ssl_cert_login_from = common_name
`, c.addr, files.Authority, files.Server, files.ServerKey)
	return c
}

func (c *certificates) test(t *testing.T, node *rabbitmq.Node) {
	plain := []string{"amqps://guest:guest@" + c.addr}
	until(t, "the listener for TLS", func() bool { // which comes behind the other
		conn, err := net.Dial("tcp", c.addr)
		if err != nil {
			return false
		}
		return conn.Close() == nil
	})
	t.Run("PLAIN", func(t *testing.T) {
		tr := try(t, node, Options{URLs: plain, TLS: &tls.Config{RootCAs: c.roots}})
		queue := tr.connect()
		tr.publish(tr.events(10_000, 4, 100))
		tr.untilAcked(10_000)
		tr.check(queue)
	})
	t.Run("EXTERNAL", func(t *testing.T) {
		o := Options{URLs: []string{"amqps://" + c.addr}, External: true, TLS: &tls.Config{RootCAs: c.roots, Certificates: []tls.Certificate{c.client}}}
		var mistake *ConfigError
		if err := try(t, node, o).Open(t.Context()); !errors.As(err, &mistake) {
			t.Errorf("without the user: %v", err)
		}
		node.AddUser("robot", "unused", ".*", ".*", ".*")
		tr := try(t, node, o)
		queue := tr.connect()
		tr.publish(tr.events(1000, 4, 100))
		tr.untilAcked(1000)
		tr.check(queue)
	})
	t.Run("an authority that is not known", func(t *testing.T) {
		var mistake *ConfigError
		if err := try(t, node, Options{URLs: plain, TLS: &tls.Config{RootCAs: x509.NewCertPool()}}).Open(t.Context()); !errors.As(err, &mistake) {
			t.Errorf("Open: %v", err)
		}
	})
}
