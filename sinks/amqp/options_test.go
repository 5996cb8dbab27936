// This file tests what is told of options that can't be right.

package amqp

import (
	"crypto/tls"
	"strings"
	"testing"
	"time"
)

// Options that cannot work are refused before anything connects, without the password in the
// message.
func TestOptions(t *testing.T) {
	with := func(urls ...string) Options { return Options{URLs: urls} }
	const good = "amqp://user:s3cret@host"
	for _, tt := range []struct {
		o    Options
		want string
	}{
		{with(), "no URL"},
		{with(good, "redis://user:s3cret@host"), "URL 2: it begins with neither amqp:// nor amqps://"},
		{with("amqp://user:s3cret/x@host"), "%2F"},
		{with("amqp://user:s3cret%zz@host"), "malformed"},
		{with("amqp://user:s3cret@host:port"), "malformed"},
		{with("amqp://user:s3cret @host"), "malformed"},
		{with(good + "?heartbeat=s3cret"), "not a number of seconds"},
		{with(good + "?cacertfile=x"), `"cacertfile" is not known`},
		{Options{URLs: []string{good}, Exchange: strings.Repeat("x", 256)}, "256 bytes"},
		{Options{URLs: []string{good}, Exchange: "amq.direct"}, "the broker's own"},
		{Options{URLs: []string{good}, Kind: "fanout"}, `"fanout" is neither direct nor topic`},
		{Options{URLs: []string{good}, Window: -1}, "window"},
		{Options{URLs: []string{good}, Prefetch: 1 << 16}, "prefetch"},
		{Options{URLs: []string{good}, Heartbeat: time.Millisecond}, "below a second"},
		{Options{URLs: []string{"amqps://host"}, External: true}, "client certificate"},
		{Options{URLs: []string{good}, External: true, TLS: &tls.Config{Certificates: make([]tls.Certificate, 1)}}, "amqps://"},
	} {
		s, err := New(tt.o)
		if err == nil {
			s.Close()
			t.Errorf("%+v passes", tt.o)
			continue
		}
		if !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%q does not contain %q", err, tt.want)
		}
		if strings.Contains(strings.ReplaceAll(err.Error(), `heartbeat "s3cret"`, ""), "s3cret") {
			t.Errorf("the password is logged: %v", err)
		}
	}
	_, addresses, err := with(good+"/a%2Fb?heartbeat=7", "amqps://host:1").complete()
	if err != nil {
		t.Fatal(err)
	}
	if a := addresses[0]; a.text != "amqp://user@host/a%2Fb" || a.uri.Vhost != "a/b" || a.heartbeat != 7*time.Second || a.uri.Port != 5672 {
		t.Errorf("%+v", a)
	}
	if a := addresses[1]; a.text != "amqps://host:1" || a.uri.Vhost != "/" || a.heartbeat != 10*time.Second {
		t.Errorf("%+v", a)
	}
}
