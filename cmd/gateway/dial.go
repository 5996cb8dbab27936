// This file makes what connects to Discord: one dialer for the REST API and the gateway.

package main

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"net/http"
	"net/url"

	"sluice/cmd/gateway/config"
	"sluice/proxy"
	"sluice/wire"
)

// newAPI returns the REST API of the settings, which goes through the same proxy, by the same
// certificates, as the gateway's connections; nil if it must not be asked.
func newAPI(cfg *config.Config, secure *tls.Config) (*wire.API, error) {
	if !cfg.AsksAPI() {
		return nil, nil
	}
	dialer := &proxy.Dialer{Proxy: cfg.ProxyFunc(), TLS: secure, UserAgent: userAgent()}
	base, err := url.Parse(cfg.APIBase())
	if err != nil {
		return nil, err
	}
	if _, err := dialer.For(base); err != nil {
		return nil, settingError{fmt.Errorf("%w; set it right, or proxy", err)}
	}
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.TLSClientConfig = secure
	transport.MaxResponseHeaderBytes = 64 << 10
	transport.Proxy = nil // the dialer knows
	transport.DialContext = func(ctx context.Context, _, address string) (net.Conn, error) {
		return dialer.Dial(ctx, &url.URL{Scheme: base.Scheme, Host: address})
	}
	return &wire.API{
		Base:      cfg.APIBase(),
		Token:     cfg.Token.Reveal(),
		UserAgent: userAgent(),
		Client:    &http.Client{Transport: transport, Timeout: onlineTimeout},
	}, nil
}
