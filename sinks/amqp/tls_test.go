//go:build linux

// This file tests connections with TLS, and logging in with a certificate.

package amqp

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

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
	dir := t.TempDir()
	c := &certificates{addr: fmt.Sprintf("127.0.0.1:%d", sinktest.FreePort(t)), roots: x509.NewCertPool()}
	sign := func(template, parent *x509.Certificate, by *ecdsa.PrivateKey) (*x509.Certificate, *ecdsa.PrivateKey) {
		key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		if by == nil {
			by = key
		}
		template.NotBefore, template.NotAfter = time.Now().Add(-time.Hour), time.Now().Add(time.Hour)
		der, err := x509.CreateCertificate(rand.Reader, template, parent, &key.PublicKey, by)
		if err != nil {
			t.Fatal(err)
		}
		cert, err := x509.ParseCertificate(der)
		if err != nil {
			t.Fatal(err)
		}
		return cert, key
	}
	write := func(name, kind string, der []byte) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	authority := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "authority"},
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature}
	authority, by := sign(authority, authority, nil)
	c.roots.AddCert(authority)
	server, key := sign(&x509.Certificate{SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: "broker"},
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, KeyUsage: x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}}, authority, by)
	serverKey, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	client, key := sign(&x509.Certificate{SerialNumber: big.NewInt(3), Subject: pkix.Name{CommonName: "robot"},
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}}, authority, by)
	c.client = tls.Certificate{Certificate: [][]byte{client.Raw}, PrivateKey: key}
	c.conf = fmt.Sprintf(`listeners.ssl.1 = %s
ssl_options.cacertfile = %s
ssl_options.certfile = %s
ssl_options.keyfile = %s
ssl_options.verify = verify_peer
ssl_options.fail_if_no_peer_cert = false
auth_mechanisms.1 = PLAIN
auth_mechanisms.2 = EXTERNAL
ssl_cert_login_from = common_name
`, c.addr, write("authority.pem", "CERTIFICATE", authority.Raw), write("server.pem", "CERTIFICATE", server.Raw), write("server.key", "PRIVATE KEY", serverKey))
	return c
}

func (c *certificates) test(t *testing.T, node *rabbitmq.Node) {
	plain := []string{"amqps://guest:guest@" + c.addr}
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
		if err := try(t, node, o).Connect(t.Context()); !errors.As(err, &mistake) {
			t.Errorf("without the user: %v", err)
		}
		node.Ctl("add_user", "robot", "unused")
		node.Ctl("set_permissions", "robot", ".*", ".*", ".*")
		tr := try(t, node, o)
		queue := tr.connect()
		tr.publish(tr.events(1000, 4, 100))
		tr.untilAcked(1000)
		tr.check(queue)
	})
	t.Run("an authority that is not known", func(t *testing.T) {
		var mistake *ConfigError
		if err := try(t, node, Options{URLs: plain, TLS: &tls.Config{RootCAs: x509.NewCertPool()}}).Connect(t.Context()); !errors.As(err, &mistake) {
			t.Errorf("Connect: %v", err)
		}
	})
}
