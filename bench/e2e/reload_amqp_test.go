//go:build linux

// This file tests a reload of what RabbitMQ is reached by.

package e2e

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"io"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"sluice/bench/sim"
	"sluice/sinks/sinktest"
	"sluice/sinks/sinktest/rabbitmq"
)

// secured is TLS before a server, with certificates that change.
type secured struct {
	t      *testing.T
	to     string
	now    atomic.Pointer[tls.Config]
	mu     sync.Mutex
	conns  []net.Conn
	listen net.Listener
}

func secure(t *testing.T, to string, c sinktest.Certificates) *secured {
	t.Helper()
	s := &secured{t: t, to: to}
	s.use(c)
	l, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) { return s.now.Load(), nil }})
	if err != nil {
		t.Fatal(err)
	}
	s.listen = l
	t.Cleanup(func() {
		l.Close()
		s.cut()
	})
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			inner, err := net.Dial("tcp", to)
			if err != nil {
				c.Close()
				continue
			}
			s.mu.Lock()
			s.conns = append(s.conns, c, inner)
			s.mu.Unlock()
			forward := func(to, from net.Conn) {
				io.Copy(to, from)
				to.Close()
			}
			go forward(c, inner)
			go forward(inner, c)
		}
	}()
	return s
}

// use has connections from now on made with the certificates, and want a client's of their authority.
func (s *secured) use(c sinktest.Certificates) {
	s.t.Helper()
	pair, err := tls.LoadX509KeyPair(c.Server, c.ServerKey)
	if err != nil {
		s.t.Fatal(err)
	}
	pem, err := os.ReadFile(c.Authority)
	if err != nil {
		s.t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(pem)
	s.now.Store(&tls.Config{Certificates: []tls.Certificate{pair}, ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: pool})
}

// cut ends the connections.
func (s *secured) cut() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, c := range s.conns {
		c.Close()
	}
	s.conns = nil
}

// The settings of RabbitMQ that can be reloaded change while events flow, and are broken in between: each
// event arrives, and none is out of order.
func testAMQPReload(t *testing.T, node *rabbitmq.Node, gateway string) {
	handleHangup(t)
	const shards = 2
	certificates, others := sinktest.NewCertificates(t), sinktest.NewCertificates(t)
	front := secure(t, node.Addr, certificates)
	eventQueue(t, node, "reload")
	address := sinktest.FreeAddress(t)
	srv := startSim(t, sim.Options{TLS: true, Shards: shards, IdentifyWindow: time.Millisecond, Rate: 2000, ReplayLimit: 1 << 20, Seed: 1})
	service := setup{name: gateway, sys: &syscall.SysProcAttr{Setsid: true}}
	own := t.TempDir()
	install := func(c sinktest.Certificates) {
		t.Helper()
		for name, from := range map[string]string{"ca.pem": c.Authority, "cert.pem": c.Client, "key.pem": c.ClientKey} {
			text, err := os.ReadFile(from)
			if err == nil {
				err = os.WriteFile(filepath.Join(own, name), text, 0o600)
			}
			if err != nil {
				t.Fatal(err)
			}
		}
	}
	install(certificates)
	env := amqpEnv(node, "reload", "AMQP_URL=amqps://guest:guest@"+front.listen.Addr().String()+"/", "HTTP_ADDRESS="+address,
		"AMQP_CA_FILE="+filepath.Join(own, "ca.pem"), "AMQP_CERT_FILE="+filepath.Join(own, "cert.pem"), "AMQP_KEY_FILE="+filepath.Join(own, "key.pem"))
	env = slices.DeleteFunc(env, func(v string) bool { return strings.HasPrefix(v, "BROKER_MESSAGE_TIMEOUT=") }) // the file's is to change
	p := startGateway(t, service, srv, env...)
	ready := func() bool {
		code, _, _ := answered(asker(nil), "GET", "http://"+address+"/readyz", "")
		return code == 200
	}
	waitFor(t, "readiness", ready)
	reload := func(file, says string) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(p.cmd.Dir, "gateway.toml"), []byte(file), 0o600); err != nil {
			t.Fatal(err)
		}
		before := len(p.stderr.String())
		p.hangUp()
		waitFor(t, says, func() bool { return strings.Contains(p.stderr.String()[before:], says) })
	}
	const file = "[broker]\nmessage_timeout = '5m'\n"
	reload(file, "setting=broker.message_timeout")
	reload(file+"linger = 'long'", "reload: nothing is changed")
	front.use(others)
	front.cut()
	waitFor(t, "the refusal of the new certificate", func() bool {
		_, body, _ := answered(asker(nil), "GET", "http://"+address+"/readyz", "")
		return strings.Contains(body, "unknown authority")
	})
	install(others)
	reload(file, "setting=amqp.cert_file")
	waitFor(t, "readiness", ready)

	want := silence(srv)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	received, repeated := readQueue(ctx, t, node, "reload", want, nil)
	r := srv.Ledger().Check(received)
	if r.Received != want || r.Lost+r.Repeated+r.OutOfOrder+r.Unknown+r.Abandoned+r.Pending > 0 {
		t.Errorf("%v", r)
	}
	if s := srv.Ledger().Summary(); s.Connects != shards {
		t.Errorf("%v", s)
	}
	t.Logf("%v; %d came twice, which were on their way at the cut", r, repeated)
	p.terminate()
	p.exit(0)
}
