// This file tells mistakes in the configuration from brokers that are away.

package amqp

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"strconv"
	"strings"

	amqp091 "github.com/rabbitmq/amqp091-go"
)

// ConfigError is a refusal that waiting does not mend: someone has to change the
// settings, here or at the broker. Its text names both, and never holds a
// password.
type ConfigError struct {
	Broker  string // its URL, without the password
	Problem string // what is wrong
	Remedy  string // what to do
	Err     error  // what the broker or the network said
}

// Error returns the broker, the problem and the remedy in one line.
func (e *ConfigError) Error() string {
	return fmt.Sprintf("amqp: %s: %s; %s", e.Broker, e.Problem, e.Remedy)
}

// Unwrap returns Err.
func (e *ConfigError) Unwrap() error { return e.Err }

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

// remedyFor returns what somebody could do about err, empty if nothing is known.
func remedyFor(err error) string {
	var c *ConfigError
	if errors.As(err, &c) {
		return c.Remedy
	}
	var closed *closedError
	if errors.As(err, &closed) {
		switch closed.code {
		case amqp091.NotFound:
			return "none is needed if the exchange was deleted: it is declared again"
		case amqp091.AccessRefused:
			return "grant the user write on the exchange, with rabbitmqctl set_permissions"
		}
	}
	return ""
}

// explainOpen explains why a connection could not be opened.
func explainOpen(a *address, external bool, err error) error {
	mistake := func(problem, remedy string) error {
		return &ConfigError{Broker: a.text, Problem: problem, Remedy: remedy, Err: err}
	}
	var broker *amqp091.Error
	var verify *tls.CertificateVerificationError
	var hostname x509.HostnameError
	var record tls.RecordHeaderError
	var alert tls.AlertError
	switch {
	case errors.As(err, &verify) || errors.As(err, &hostname):
		return mistake("its certificate is not trusted: "+err.Error(), "name the authority that signed it, and the host that it is made out to")
	case errors.As(err, &alert):
		return mistake("it refuses the client's certificate, or that there is none: "+err.Error(), "show one that it trusts")
	case errors.As(err, &record):
		return mistake("it does not speak TLS at this port", "use amqp://, or the port of its TLS listener, which is 5671 by default")
	case errors.Is(err, amqp091.ErrSASL) && external:
		return mistake("it lets nobody log in as EXTERNAL", "enable its plugin rabbitmq_auth_mechanism_ssl and add EXTERNAL to its auth_mechanisms")
	case errors.Is(err, amqp091.ErrSASL):
		return mistake("it lets nobody log in as PLAIN", "add PLAIN to its auth_mechanisms, or log in as EXTERNAL with a client certificate")
	case !errors.As(err, &broker):
	case errors.Is(err, amqp091.ErrCredentials) || broker.Server && broker.Code == amqp091.AccessRefused:
		if external {
			return mistake("it knows no user for the client certificate", "add the user that its ssl_cert_login_from takes from the certificate, with rabbitmqctl add_user")
		}
		return mistake(fmt.Sprintf("it refuses the user %q or the password", a.uri.Username),
			"correct them in the URL, or at the broker with rabbitmqctl add_user or change_password; guest may log in from the broker's own host only")
	case broker.Server && broker.Code == amqp091.NotAllowed && !strings.Contains(broker.Reason, "limit"):
		return mistake(fmt.Sprintf("it refuses the virtual host %q to the user %q: %s", a.uri.Vhost, a.uri.Username, broker.Reason),
			fmt.Sprintf("correct the path of the URL, or run rabbitmqctl add_vhost %s and rabbitmqctl set_permissions -p %[1]s %s '.*' '.*' '.*'", a.uri.Vhost, a.uri.Username))
	}
	return fmt.Errorf("amqp: %s: %w", a.text, err)
}

// explainDeclare explains why an exchange or a queue could not be declared, bound or
// read.
func explainDeclare(a *address, what, name string, err error) error {
	thing := fmt.Sprintf("the %s %q in the virtual host %q", what, name, a.uri.Vhost)
	var broker *amqp091.Error
	if errors.As(err, &broker) && broker.Server {
		switch broker.Code {
		case amqp091.PreconditionFailed:
			return &ConfigError{
				Broker:  a.text,
				Problem: fmt.Sprintf("%s exists with another %s (%s)", thing, differing(broker.Reason), broker.Reason),
				Remedy:  fmt.Sprintf("change the settings to what exists, choose another name, or delete the %s so that it is declared anew", what),
				Err:     err,
			}
		case amqp091.AccessRefused:
			return &ConfigError{
				Broker:  a.text,
				Problem: fmt.Sprintf("the user %q may not declare or use %s (%s)", a.uri.Username, thing, broker.Reason),
				Remedy:  fmt.Sprintf("run rabbitmqctl set_permissions -p %s %s with patterns that match %s", a.uri.Vhost, a.uri.Username, name),
				Err:     err,
			}
		}
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
