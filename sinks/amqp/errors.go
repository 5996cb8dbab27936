// This file distinguishes mistakes in the configuration from brokers that are unavailable.

package amqp

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"strconv"
	"strings"

	amqp091 "github.com/rabbitmq/amqp091-go"

	"sluice/sinks"
)

// Problem is what is wrong with a broker, or with how it is reached.
type Problem uint8

const (
	Untrusted         Problem = iota + 1 // the broker's certificate is not trusted
	NotTrusted                           // the broker does not trust the client's
	NoTLS                                // the broker does not speak TLS at this port
	NoExternal                           // it lets nobody log in as EXTERNAL,
	NoPlain                              // or as PLAIN
	NoCertificateUser                    // it has no user for the client's certificate
	Login                                // the user or the password is wrong
	NoVhost                              // the virtual host is not there, or not for this user
	OtherArguments                       // the exchange or queue exists with others
	NoDeclare                            // the user may not declare or use it
	ExchangeDeleted                      // it is not there any more
	NoWrite                              // the user may not publish to the exchange,
	NoReplies                            // or to the default exchange
)

// ConfigError is a refusal that waiting does not mend: someone has to change the
// settings, here or at the broker. It never holds a password.
type ConfigError struct {
	Broker      string // its URL, without the password
	Problem     Problem
	User, Vhost string // as in the URL
	Object      string // what Problem is about: exchange or queue; or empty
	Name        string // of Object
	Err         error  // what the broker or the network said
	text        string
}

// Error returns the broker and the problem in one line.
func (e *ConfigError) Error() string { return "amqp: " + e.Broker + ": " + e.text }

// Unwrap returns Err.
func (e *ConfigError) Unwrap() error { return e.Err }

// Is reports that it is sinks.ErrConfig.
func (e *ConfigError) Is(target error) bool { return target == sinks.ErrConfig }

// ErrClosed is returned by calls after Close.
var ErrClosed = errors.New("amqp: the sink is closed")

// closedError is a channel.close on the channel that publishes.
type closedError struct {
	code   uint16
	text   string
	method uint32 // that it is about, class and number; 0: not said
}

func (e *closedError) Error() string {
	return fmt.Sprintf("the broker closed the channel: %s (%d)", e.text, e.code)
}

// tooLarge reports whether the channel was closed for the size of a message. RabbitMQ
// says PRECONDITION_FAILED - message size 400009 is larger than configured max size
// 400000. AMQP's own CONTENT_TOO_LARGE is about what it takes at present, and so is no
// reason to give up an event.
func (e *closedError) tooLarge() bool {
	return e.method == classBasic<<16|basicPublish && e.code == amqp091.PreconditionFailed && strings.Contains(e.text, "message size")
}

// about reports whether what tooLarge has found can be about a message of size bytes: the
// first number of the text is its size, and the second the broker's limit.
func (e *closedError) about(size int) bool {
	var said []int
	for _, word := range strings.FieldsFunc(e.text, func(c rune) bool { return c < '0' || c > '9' }) {
		n, err := strconv.Atoi(word)
		if err != nil {
			return false
		}
		said = append(said, n)
	}
	return len(said) == 2 && said[0] == size && said[1] < size
}

// Error is a failure with a problem that is known, and that waiting may mend.
type Error struct {
	Problem Problem
	Err     error
}

func (e *Error) Error() string { return e.Err.Error() }
func (e *Error) Unwrap() error { return e.Err }

// explain returns err as an *Error if the broker has closed the channel for a problem that is
// known.
func explain(err error) error {
	var closed *closedError
	if errors.As(err, &closed) {
		switch closed.code {
		case amqp091.NotFound:
			return &Error{ExchangeDeleted, err}
		case amqp091.AccessRefused:
			return &Error{NoWrite, err}
		}
	}
	return err
}

// explainOpen explains why a connection could not be opened.
func explainOpen(a *address, external bool, err error) error {
	mistake := func(problem Problem, format string, args ...any) error {
		return a.mistake(problem, err, format, args...)
	}
	var broker *amqp091.Error
	var verify *tls.CertificateVerificationError
	var hostname x509.HostnameError
	var record tls.RecordHeaderError
	var alert tls.AlertError
	switch {
	case errors.As(err, &verify) || errors.As(err, &hostname):
		return mistake(Untrusted, "its certificate is not trusted: %v", err)
	case errors.As(err, &alert):
		return mistake(NotTrusted, "it refuses the client's certificate, or that there is none: %v", err)
	case errors.As(err, &record):
		return mistake(NoTLS, "it does not speak TLS at this port")
	case errors.Is(err, amqp091.ErrSASL) && external:
		return mistake(NoExternal, "it lets nobody log in as EXTERNAL")
	case errors.Is(err, amqp091.ErrSASL):
		return mistake(NoPlain, "it lets nobody log in as PLAIN")
	case !errors.As(err, &broker):
	case errors.Is(err, amqp091.ErrCredentials) || broker.Server && broker.Code == amqp091.AccessRefused:
		if external {
			return mistake(NoCertificateUser, "it has no user for the client certificate")
		}
		return mistake(Login, "it refuses the user %q or the password", a.uri.Username)
	case broker.Server && broker.Code == amqp091.NotAllowed && !strings.Contains(broker.Reason, "limit"):
		return mistake(NoVhost, "it refuses the virtual host %q to the user %q: %s", a.uri.Vhost, a.uri.Username, broker.Reason)
	}
	return fmt.Errorf("amqp: %s: %w", a.text, err)
}

func (a *address) mistake(problem Problem, err error, format string, args ...any) *ConfigError {
	return &ConfigError{Broker: a.text, Problem: problem, User: a.uri.Username, Vhost: a.uri.Vhost, Err: err, text: fmt.Sprintf(format, args...)}
}

// explainDeclare explains why an exchange or a queue could not be declared, bound or
// read.
func explainDeclare(a *address, what, name string, err error) error {
	thing := fmt.Sprintf("the %s %q in the virtual host %q", what, name, a.uri.Vhost)
	var broker *amqp091.Error
	var mistake *ConfigError
	if errors.As(err, &broker) && broker.Server {
		switch broker.Code {
		case amqp091.PreconditionFailed:
			mistake = a.mistake(OtherArguments, err, "%s exists with another %s (%s)", thing, differing(broker.Reason), broker.Reason)
		case amqp091.AccessRefused:
			mistake = a.mistake(NoDeclare, err, "the user %q may not declare or use %s (%s)", a.uri.Username, thing, broker.Reason)
		}
	}
	if mistake != nil {
		mistake.Object, mistake.Name = what, name
		return mistake
	}
	return fmt.Errorf("amqp: %s: %s: %w", a.text, thing, err)
}

// differing returns the name of the argument that differs, from a text such as
// PRECONDITION_FAILED - inequivalent arg 'type' for exchange 'gateway' ….
func differing(reason string) string {
	_, after, _ := strings.Cut(reason, "inequivalent arg '")
	name, _, found := strings.Cut(after, "'")
	if !found {
		return "argument"
	}
	return name
}
