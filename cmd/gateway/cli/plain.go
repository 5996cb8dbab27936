// This file makes errors readable to those who do not write Go.

package cli

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"os"
	"strings"

	amqp091 "github.com/rabbitmq/amqp091-go"
)

// packages are names of Go packages that errors begin with, and that say nothing to users.
var packages = map[string]bool{"config": true, "engine": true, "resume": true, "sinks": true, "spool": true, "stdio": true, "wire": true}

// plain returns the text of an error without names of packages, without what wrapping has
// doubled, and with what the network said in words. What stands in quotes is left alone.
func plain(err error) string { return plainText(err.Error(), err) }

// plainText is plain for an error whose text is another.
func plainText(text string, err error) string {
	walk(err, func(err error) {
		var said string
		switch err := err.(type) {
		case *net.OpError:
			said = opText(err)
		case *net.DNSError:
			said = dnsText(err)
		case tls.RecordHeaderError:
			said = "the server does not speak TLS on this port"
		case *amqp091.Error:
			said = err.Reason
			if err.Server {
				said = fmt.Sprintf("%s (%d)", err.Reason, err.Code)
			}
		default:
			return
		}
		text = strings.ReplaceAll(text, err.Error(), said)
	})
	if errors.Is(err, os.ErrDeadlineExceeded) {
		text = strings.ReplaceAll(text, os.ErrDeadlineExceeded.Error(), "no answer in time")
	}
	if errors.Is(err, context.DeadlineExceeded) {
		text = strings.ReplaceAll(text, context.DeadlineExceeded.Error(), "no answer in time")
	}
	var b strings.Builder
	seen := map[string]bool{}
	for {
		part, rest, more := strings.Cut(text, ": ")
		if !more || strings.ContainsAny(part, "\"'`\n") {
			b.WriteString(text)
			return b.String()
		}
		if strings.Contains(part, " ") {
			b.WriteString(part + ": ")
			text = rest
			continue
		}
		if !packages[part] && !seen[part] {
			b.WriteString(part + ": ")
		}
		table, _, _ := strings.Cut(part, ".") // redis.urls: redis: …
		seen[part], seen[table] = true, true
		text = rest
	}
}

// walk calls f with the error and all that it wraps, the outermost first.
func walk(err error, f func(error)) {
	if err == nil {
		return
	}
	f(err)
	switch e := err.(type) {
	case interface{ Unwrap() error }:
		walk(e.Unwrap(), f)
	case interface{ Unwrap() []error }:
		for _, err := range e.Unwrap() {
			walk(err, f)
		}
	}
}

// opText says what a net.OpError does, such as "127.0.0.1:1: connection refused".
func opText(err *net.OpError) string {
	var dns *net.DNSError
	if errors.As(err.Err, &dns) {
		return dnsText(dns)
	}
	cause := err.Err
	var call *os.SyscallError
	if errors.As(cause, &call) { // connect, read and the like
		cause = call.Err
	}
	what := cause.Error()
	if err.Timeout() {
		what = "no answer in time"
	}
	if err.Addr == nil {
		return what
	}
	if err.Op == "listen" {
		return fmt.Sprintf("cannot listen on %s: %s", err.Addr, what)
	}
	return fmt.Sprintf("%s: %s", err.Addr, what)
}

func dnsText(err *net.DNSError) string {
	switch {
	case err.IsNotFound:
		return fmt.Sprintf("there is no host %q: DNS does not know the name", err.Name)
	case err.IsTimeout:
		return fmt.Sprintf("DNS does not answer for the host %q", err.Name)
	}
	return fmt.Sprintf("DNS has no answer for the host %q: %s", err.Name, err.Err)
}

// plainError is an error whose text is plain.
type plainError struct {
	error
	text string
}

func asPlain(err error) error {
	if err == nil {
		return nil
	}
	return &plainError{err, plain(err)}
}

func (e *plainError) Error() string { return e.text }
func (e *plainError) Unwrap() error { return e.error }
