// This file makes what connects to Discord: one dialer for the REST API and the gateway.

package cli

import (
	"context"
	"crypto/tls"
	"net"
	"net/http"
	"net/url"

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
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.TLSClientConfig = secure
	transport.MaxResponseHeaderBytes = 64 << 10
	transport.Proxy = nil // the dialer has it
	transport.DialContext = func(ctx context.Context, _, address string) (net.Conn, error) {
		return dialer.Dial(ctx, &url.URL{Scheme: cfg.API.Scheme, Host: address})
	}
	return &wire.API{
		Base:      cfg.APIBase(),
		Token:     cfg.Token.Reveal(),
		UserAgent: userAgent(),
		Client:    &http.Client{Transport: transport, Timeout: onlineTimeout},
	}, nil
}
