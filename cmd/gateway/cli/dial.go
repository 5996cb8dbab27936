// This file makes what connects to Discord: one dialer for the REST API and the gateway.

package cli

import (
	"context"
	"crypto/tls"
	"net"
	"net/http"
	"net/url"
	"sync"

	"sluice/cmd/gateway/config"
	"sluice/internal/proxy"
	"sluice/wire"
)

// newDialer returns what connects to the API, as the engine connects to the gateway.
func newDialer(cfg *config.Config, secure *tls.Config) (*proxy.Dialer, error) {
	dialer := &proxy.Dialer{Proxy: cfg.ProxyFunc(), TLS: secure, UserAgent: userAgent()}
	targets := []string{cfg.Gateway.URL}
	if cfg.AsksAPI() {
		targets = append(targets, cfg.APIBase())
	}
	for _, target := range targets {
		u, err := url.Parse(target)
		if err == nil && target != "" {
			_, err = dialer.For(u)
		}
		if err != nil {
			return nil, settingError{err}
		}
	}
	return dialer, nil
}

// newAPI returns the REST API of the settings, which goes through the same proxy, by the same
// certificates, as the gateway's connections; nil if it must not be asked.
func newAPI(cfg *config.Config, secure *tls.Config) (*wire.API, error) {
	dialer, err := newDialer(cfg, secure)
	if err != nil || !cfg.AsksAPI() {
		return nil, err
	}
	return &wire.API{
		Base:      cfg.APIBase(),
		Token:     cfg.Token.Reveal(),
		UserAgent: userAgent(),
		Client:    &http.Client{Transport: &renewedTransport{cfg: cfg, dialer: *dialer, began: secure}, Timeout: onlineTimeout},
	}, nil
}

// renewedTransport makes connections to the API with the certificates in force.
type renewedTransport struct {
	cfg    *config.Config
	dialer proxy.Dialer
	began  *tls.Config

	mu   sync.Mutex
	of   *config.Config // that transport was made by
	base *http.Transport
}

func (t *renewedTransport) RoundTrip(r *http.Request) (*http.Response, error) {
	return t.now().RoundTrip(r)
}

// CloseIdleConnections is what http.Client's calls.
func (t *renewedTransport) CloseIdleConnections() {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.base != nil {
		t.base.CloseIdleConnections()
	}
}

// now returns the transport for the settings in force.
func (t *renewedTransport) now() *http.Transport {
	t.mu.Lock()
	defer t.mu.Unlock()
	if now := t.cfg.Current(); t.of != now {
		if t.base != nil {
			t.base.CloseIdleConnections()
		}
		t.of, t.base = now, newTransport(t.cfg, t.dialer, t.cfg.Renewed("api", t.began))
	}
	return t.base
}

// newTransport returns a transport through the dialer.
func newTransport(cfg *config.Config, dialer proxy.Dialer, secure *tls.Config) *http.Transport {
	dialer.TLS = secure
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.TLSClientConfig = secure
	transport.MaxResponseHeaderBytes = 64 << 10
	transport.Proxy = nil // the dialer has it
	transport.DialContext = func(ctx context.Context, _, address string) (net.Conn, error) {
		return dialer.Dial(ctx, &url.URL{Scheme: cfg.API.Scheme, Host: address})
	}
	return transport
}
