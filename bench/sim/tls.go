// This file makes the certificates: that of an authority, for clients to trust,
// and the server's own, signed by it.

package sim

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"time"
)

// newCertificate returns a certificate for hosts (names and addresses), and that
// of the authority that signed it as PEM, for a client to trust. They are two:
// rustls takes none of an authority for a server's.
func newCertificate(hosts []string) (tls.Certificate, []byte, error) {
	authority, err := certificateTemplate("Sluice simulated authority")
	if err != nil {
		return tls.Certificate{}, nil, err
	}
	authority.KeyUsage = x509.KeyUsageCertSign
	authority.IsCA = true
	authorityKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return tls.Certificate{}, nil, fmt.Errorf("sim: certificate key: %w", err)
	}
	ca, err := x509.CreateCertificate(rand.Reader, authority, authority, &authorityKey.PublicKey, authorityKey)
	if err != nil {
		return tls.Certificate{}, nil, fmt.Errorf("sim: certificate of the authority: %w", err)
	}

	server, err := certificateTemplate("Sluice simulated Discord")
	if err != nil {
		return tls.Certificate{}, nil, err
	}
	server.KeyUsage = x509.KeyUsageDigitalSignature
	server.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}
	for _, h := range hosts {
		if ip := net.ParseIP(h); ip != nil {
			server.IPAddresses = append(server.IPAddresses, ip)
		} else {
			server.DNSNames = append(server.DNSNames, h)
		}
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return tls.Certificate{}, nil, fmt.Errorf("sim: certificate key: %w", err)
	}
	leaf, err := x509.CreateCertificate(rand.Reader, server, authority, &key.PublicKey, authorityKey)
	if err != nil {
		return tls.Certificate{}, nil, fmt.Errorf("sim: certificate: %w", err)
	}
	return tls.Certificate{Certificate: [][]byte{leaf}, PrivateKey: key},
		pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: ca}), nil
}

// certificateTemplate returns what both certificates have in common.
func certificateTemplate(name string) (*x509.Certificate, error) {
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 120))
	if err != nil {
		return nil, fmt.Errorf("sim: certificate serial: %w", err)
	}
	// Fake time begins in the year 2000, real time is later: valid in both.
	return &x509.Certificate{
		SerialNumber:          serial,
		Subject:               pkix.Name{CommonName: name},
		NotBefore:             time.Date(1999, 1, 1, 0, 0, 0, 0, time.UTC),
		NotAfter:              time.Now().AddDate(1, 0, 0),
		BasicConstraintsValid: true,
	}, nil
}
