// This file asks a SOCKS5 proxy for a connection.

package proxy

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"net/url"
	"strconv"
)

const (
	socksVersion = 5

	methodNone     = 0x00
	methodPassword = 0x02
	methodRefused  = 0xff

	addressIPv4 = 1
	addressName = 3
	addressIPv6 = 4
)

// socksErrors are the replies of RFC 1928, 6.
var socksErrors = [...]string{
	1: "general failure", "not allowed by its rules", "network unreachable", "host unreachable",
	"connection refused", "TTL expired", "command not supported", "address type not supported",
}

// socks5 has a SOCKS5 proxy connect to the address (RFC 1928), with a user and a password if it
// wants them (RFC 1929).
func socks5(conn io.ReadWriter, user *url.Userinfo, address string) error {
	request, err := socksRequest(address)
	if err != nil {
		return err
	}
	methods := []byte{methodNone}
	if user != nil {
		methods = append(methods, methodPassword)
	}
	answer, err := exchange(conn, append([]byte{socksVersion, byte(len(methods))}, methods...), 2)
	if err != nil {
		return err
	}
	switch {
	case answer[0] != socksVersion:
		return errNotSOCKS
	case answer[1] == methodPassword && user != nil:
		if err := socksLogin(conn, user); err != nil {
			return err
		}
	case answer[1] == methodRefused || answer[1] == methodPassword:
		return errors.New("it wants another user and password in its address")
	case answer[1] != methodNone:
		return errNotSOCKS
	}
	answer, err = exchange(conn, request, 4)
	if err != nil {
		return err
	}
	if answer[0] != socksVersion {
		return errNotSOCKS
	}
	if code := int(answer[1]); code != 0 {
		text := "unknown error " + strconv.Itoa(code)
		if code < len(socksErrors) {
			text = socksErrors[code]
		}
		return fmt.Errorf("the connection to %s is refused: %s", address, text)
	}
	// The address of its own end, of no use.
	size := 0
	switch answer[3] {
	case addressIPv4:
		size = net.IPv4len
	case addressIPv6:
		size = net.IPv6len
	case addressName:
		length, err := exchange(conn, nil, 1)
		if err != nil {
			return err
		}
		size = int(length[0])
	default:
		return errNotSOCKS
	}
	_, err = exchange(conn, nil, size+2)
	return err
}

var errNotSOCKS = errors.New("the answer is not SOCKS5")

// exchange writes request and reads n bytes.
func exchange(conn io.ReadWriter, request []byte, n int) ([]byte, error) {
	if len(request) > 0 {
		if _, err := conn.Write(request); err != nil {
			return nil, err
		}
	}
	answer := make([]byte, n)
	if _, err := io.ReadFull(conn, answer); err != nil {
		return nil, fmt.Errorf("no answer: %w", err)
	}
	return answer, nil
}

func socksLogin(conn io.ReadWriter, user *url.Userinfo) error {
	name := user.Username()
	password, _ := user.Password()
	if len(name) == 0 || len(name) > 255 || len(password) > 255 {
		return errors.New("its user and password must have 1 to 255 bytes")
	}
	login := append([]byte{1, byte(len(name))}, name...)
	login = append(append(login, byte(len(password))), password...)
	answer, err := exchange(conn, login, 2)
	if err != nil {
		return err
	}
	if answer[1] != 0 {
		return errors.New("it refuses the user and password in its address")
	}
	return nil
}

// socksRequest returns the request for a connection. Names are left to the proxy.
func socksRequest(address string) ([]byte, error) {
	host, service, err := net.SplitHostPort(address)
	if err != nil {
		return nil, err
	}
	port, err := strconv.ParseUint(service, 10, 16)
	if err != nil {
		return nil, err
	}
	b := []byte{socksVersion, 1, 0}
	switch ip, err := netip.ParseAddr(host); {
	case err != nil && len(host) > 255:
		return nil, errors.New("the host's name is longer than 255 bytes")
	case err != nil:
		b = append(append(b, addressName, byte(len(host))), host...)
	case ip.Unmap().Is4():
		b = append(append(b, addressIPv4), ip.Unmap().AsSlice()...)
	default:
		b = append(append(b, addressIPv6), ip.AsSlice()...)
	}
	return binary.BigEndian.AppendUint16(b, uint16(port)), nil
}
