//go:build linux

// This file tests the sink against a real RabbitMQ: what consumers see, and what is
// wrong from the start.

package amqp

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	amqp091 "github.com/rabbitmq/amqp091-go"

	"sluice/sinks"
	"sluice/sinks/sinktest/rabbitmq"
)

var _ sinks.Sink = (*Sink)(nil)

// largest is the node's max_message_size.
const largest = 400_000

// A brokerTest is a part of TestBroker.
type brokerTest struct {
	name string
	test func(*testing.T, *rabbitmq.Node)
}

// TestBroker holds all tests that need a node, for it takes seconds to start. Those that
// leave it alone run beside each other, and then those that block, stop and kill it.
func TestBroker(t *testing.T) {
	t.Parallel()
	c := newCertificates(t)
	node := rabbitmq.Start(t, fmt.Sprintf("max_message_size = %d\n%s", largest, c.conf), "rabbitmq_auth_mechanism_ssl")
	run := func(tt brokerTest) bool { return t.Run(tt.name, func(t *testing.T) { tt.test(t, node) }) }
	var group sync.WaitGroup
	slots := make(chan struct{}, 8)
	for _, tt := range []brokerTest{
		{"silent", testSilent},
		{"mistakes", testMistakes},
		{"rights", testRights},
		{"reply refused", testReplyRefused},
		{"TLS", c.test},
		{"contract", testContract},
		{"bytes", testBytes},
		{"order", testOrder},
		{"mandatory", testMandatory},
		{"check", testCheck},
		{"too large", testTooLarge},
		{"not encodable", testNotEncodable},
		{"nack", testNack},
		{"exchange deleted", testExchangeDeleted},
		{"cut", testCut},
		{"several", testSeveral},
		{"commands", testCommands},
		{"forward", testForward},
		{"commands cut", testCommandsCut},
		{"relay", testRelay},
		{"sent late", testSentLate},
		{"forward late", testForwardLate},
		{"stuck shard", testStuckShard},
		{"odd commands", testOddCommands},
		{"exchange deleted, commands", testExchangeDeletedCommands},
		{"exchange deleted, idle", testExchangeDeletedIdle},
		{"exchange of another type", testExchangeOfAnotherType},
		{"queue deleted", testQueueDeleted},
		{"binding removed", testBindingRemoved},
		{"forward refused", testForwardRefused},
		{"fleet", testFleetCommands},
		{"fleet killed", testFleetKilled},
		{"fleet cut", testFleetCut},
		{"fleet in flight", testFleetInFlight},
		{"fleet suspect", testFleetSuspect},
		{"fleet unrouted", testFleetUnrouted},
		{"fleet count before", testFleetCountBefore},
		{"fleet full", testFleetFull},
		{"fleet queue deleted", testFleetQueueDeleted},
		{"closed", testClosed},
		{"stalled", testStalled},
		{"hostile", testHostile},
	} {
		slots <- struct{}{}
		group.Go(func() {
			defer func() { <-slots }()
			run(tt)
		})
	}
	group.Wait()
	for _, tt := range []brokerTest{
		{"alarm", testAlarm},
		{"blocked write", testBlockedWrite},
		{"paused", testPaused},
		{"restart", testRestart},
		{"kill", testKill},
		{"cluster", testCluster},
	} {
		run(tt)
	}
}

// testBytes looks at messages as a plain consumer does.
func testBytes(t *testing.T, node *rabbitmq.Node) {
	long := strings.Repeat("y", 70_000)
	huge := strings.Repeat("z", 300_000) // three frames
	for _, tt := range []struct {
		name string
		o    Options
		ev   sinks.Event
		want amqp091.Delivery
	}{
		{
			"as the old gateway", Options{Expiration: 2 * time.Minute},
			sinks.Event{Type: []byte("MESSAGE_CREATE"), Data: []byte(`{"id":"1"}`)},
			amqp091.Delivery{RoutingKey: "MESSAGE_CREATE", Expiration: "120000", Body: []byte("\xaa" + `{"id":"1"}`)},
		},
		{
			"31 bytes", Options{},
			sinks.Event{Type: []byte("A"), Data: []byte(`"` + long[:29] + `"`)},
			amqp091.Delivery{RoutingKey: "A", Body: []byte("\xbf\"" + long[:29] + `"`)},
		},
		{
			"32 bytes", Options{},
			sinks.Event{Type: []byte("A"), Data: []byte(`"` + long[:30] + `"`)},
			amqp091.Delivery{RoutingKey: "A", Body: []byte("\xda\x00\x20\"" + long[:30] + `"`)},
		},
		{
			"70,000 bytes", Options{Persistent: true},
			sinks.Event{Type: []byte("A"), Data: []byte(long)},
			amqp091.Delivery{RoutingKey: "A", DeliveryMode: 2, Body: []byte("\xdb\x00\x01\x11\x70" + long)},
		},
		{
			"several frames", Options{},
			sinks.Event{Type: []byte("A"), Data: []byte(huge)},
			amqp091.Delivery{RoutingKey: "A", Body: []byte("\xdb\x00\x04\x93\xe0" + huge)},
		},
		{
			"no data", Options{Expiration: 1},
			sinks.Event{Type: []byte("RESUMED")},
			amqp091.Delivery{RoutingKey: "RESUMED", Expiration: "1", Body: []byte("\xa4null")},
		},
		{
			"everything", Options{
				Kind: "topic", Headers: true, Persistent: true, Mandatory: true, Expiration: 1500 * time.Millisecond,
				RoutingKey: func(dst []byte, ev *sinks.Event) []byte { return fmt.Appendf(dst, "%s.%d", ev.Type, ev.Shard) },
				Body:       func(dst []byte, ev *sinks.Event) ([]byte, error) { return append(dst, ev.Data...), nil },
			},
			sinks.Event{Type: []byte("B"), Shard: 7, Session: "abc", Seq: 1 << 40, Data: []byte(`[1]`)},
			amqp091.Delivery{RoutingKey: "B.7", DeliveryMode: 2, Expiration: "1500", Body: []byte(`[1]`),
				Headers: amqp091.Table{"shard": int64(7), "session": "abc", "seq": int64(1 << 40)}},
		},
		{
			"in a fleet", Options{Headers: true, Owner: "XYZ"},
			sinks.Event{Type: []byte("A"), Shard: 7, Session: "abc", Seq: 9, Epoch: 1_764_000_000_000},
			amqp091.Delivery{RoutingKey: "A", Body: []byte("\xa4null"),
				Headers: amqp091.Table{"shard": int64(7), "session": "abc", "seq": int64(9), "epoch": int64(1_764_000_000_000), "owner": "XYZ"}},
		},
		{
			"empty", Options{Body: func(dst []byte, ev *sinks.Event) ([]byte, error) { return dst, nil }},
			sinks.Event{Type: []byte("A"), Data: []byte(`1`)},
			amqp091.Delivery{RoutingKey: "A"},
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			tr := try(t, node, tt.o)
			queue := tr.queueOf(tt.want.RoutingKey)
			ch := channel(t, dial(t, node.URL()))
			from, err := ch.Consume(queue, "", true, false, false, false, nil)
			if err != nil {
				t.Fatal(err)
			}
			tr.publish([]sinks.Event{tt.ev, tt.ev}) // that the next is read shows where the first ends
			want := fmt.Sprint(tr.o.Exchange, tt.want.RoutingKey, tt.want.DeliveryMode, tt.want.Expiration, "", tt.want.Headers)
			for range 2 {
				d := <-from
				if string(d.Body) != string(tt.want.Body) {
					t.Errorf("body of %d bytes %.40q, want %d bytes %.40q", len(d.Body), d.Body, len(tt.want.Body), tt.want.Body)
				}
				if got := fmt.Sprint(d.Exchange, d.RoutingKey, d.DeliveryMode, d.Expiration, d.ContentType, d.Headers); got != want {
					t.Errorf("properties %s, want %s", got, want)
				}
			}
			tr.untilAcked(2)
			if st := tr.Status(); st.Published != 2 || st.Resent != 0 || st.Unroutable != 0 || st.Pending != 0 || !st.Available {
				t.Errorf("%+v", st)
			}
		})
	}
}

func testOrder(t *testing.T, node *rabbitmq.Node) {
	tr := try(t, node, Options{})
	queue := tr.connect()
	tr.publish(tr.events(orderEvents, 16, 100))
	tr.untilAcked(orderEvents)
	if n := tr.check(queue); n != 0 {
		t.Errorf("%d repeated", n)
	}
}

func testMandatory(t *testing.T, node *rabbitmq.Node) {
	tr := try(t, node, Options{Mandatory: true, Headers: true})
	queue := tr.connect()
	none := sinks.Event{Type: []byte("NOBODY"), Data: []byte(strings.Repeat("x", largest-10))} // frames that come back
	tr.publish(append(tr.events(10, 1, 10), none, none))
	tr.publish(tr.events(10, 1, 10))
	tr.untilAcked(22)
	tr.check(queue)
	if st := tr.Status(); st.Unroutable != 2 || st.Published != 22 {
		t.Errorf("%+v", st)
	}
}

// testMistakes looks at what is told of settings that the broker does not take.
func testMistakes(t *testing.T, node *rabbitmq.Node) {
	ch := channel(t, dial(t, node.URL()))
	if err := ch.ExchangeDeclare("other", "fanout", true, false, false, false, nil); err != nil {
		t.Fatal(err)
	}
	if err := ch.ExchangeDeclare("passing", "direct", false, false, false, false, nil); err != nil {
		t.Fatal(err)
	}
	node.AddUser("writer", "s3cret", "^$", "^passing$", "^$")
	at := "@" + node.Addr
	t.Run("an exchange of others", func(t *testing.T) {
		if err := channel(t, dial(t, node.URL())).ExchangeDeclare("theirs", "direct", true, false, false, false, nil); err != nil {
			t.Fatal(err)
		}
		node.SetPermissions("writer", "^$", "^theirs$", "^$")
		tr := try(t, node, Options{URLs: []string{"amqp://writer:s3cret" + at}, Exchange: "theirs"})
		if err := tr.Open(t.Context()); err != nil {
			t.Fatal(err)
		}
		tr.publish(tr.events(3, 1, 1))
		tr.untilAcked(3)
	})

	var group sync.WaitGroup
	defer group.Wait()
	for _, tt := range []struct {
		name, url, exchange string
		problem             Problem // of a ConfigError; 0: it is none
		want                []string
	}{
		{"password", "amqp://guest:s3cret" + at, "", Login, []string{`"guest"`, "password", "amqp://guest" + at}},
		{"user", "amqp://n0body:s3cret" + at, "", Login, []string{`"n0body"`}},
		{"vhost", "amqp://guest:guest" + at + "/nowhere", "", NoVhost, []string{`"nowhere"`}},
		{"vhost of others", "amqp://writer:s3cret" + at + "/nowhere", "", NoVhost, []string{`"writer"`}},
		{"kind", node.URL(), "other", OtherArguments, []string{`"other"`, "type", "'fanout'"}},
		{"durability", node.URL(), "passing", OtherArguments, []string{`"passing"`, "durable"}},
		{"permission", "amqp://writer:s3cret" + at, "mine", NoDeclare, []string{`"writer"`, `"mine"`}},
		{"refused", "amqp://guest:s3cret@127.0.0.1:1", "", 0, []string{"amqp://guest@127.0.0.1:1", "refused"}},
		{"no TLS", "amqps://guest:s3cret" + at, "", NoTLS, []string{"does not speak TLS"}},
	} {
		// RabbitMQ takes seconds to refuse a password.
		group.Go(func() {
			t.Run(tt.name, func(t *testing.T) {
				tr := try(t, node, Options{URLs: []string{tt.url}, Exchange: tt.exchange})
				err := tr.Open(t.Context())
				var mistake *ConfigError
				if err == nil || errors.As(err, &mistake) != (tt.problem != 0) || mistake != nil && mistake.Problem != tt.problem {
					t.Fatalf("Open: %v; %+v", err, mistake)
				}
				for _, w := range tt.want {
					if !strings.Contains(err.Error(), w) {
						t.Errorf("%q does not contain %q", err, w)
					}
				}
				// What is logged while it goes on trying does not hold the password either.
				if err := tr.Publish(t.Context(), tr.events(1, 1, 1), func(int) {}); err != nil {
					t.Fatal(err)
				}
				until(t, "a warning", func() bool { return tr.log.count("level=WARN") > 0 })
				if strings.Contains(err.Error()+tr.log.String(), "s3cret") {
					t.Errorf("the password is logged: %v\n%s", err, tr.log)
				}
			})
		})
	}
}

// testClosed looks at calls in an order that is not the usual one.
func testClosed(t *testing.T, node *rabbitmq.Node) {
	t.Run("unused", func(t *testing.T) {
		tr := try(t, node, Options{})
		tr.Close()
		tr.Close()
		if err := tr.Publish(t.Context(), tr.events(1, 1, 1), nil); !errors.Is(err, ErrClosed) {
			t.Errorf("Publish: %v", err)
		}
		if err := tr.Open(t.Context()); !errors.Is(err, ErrClosed) {
			t.Errorf("Open: %v", err)
		}
		if err := tr.forward(t.Context(), "1", nil); !errors.Is(err, ErrClosed) {
			t.Errorf("Forward: %v", err)
		}
		tr.Relay(t.Context(), nil, nil, 1, nil, nil)
	})
	t.Run("connected", func(t *testing.T) {
		closeConnected(t, try(t, node, Options{}))
	})
	t.Run("context", func(t *testing.T) {
		tr := try(t, node, Options{URLs: []string{"amqp://127.0.0.1:1"}, Window: 10})
		if err := tr.Open(canceled()); !errors.Is(err, context.Canceled) {
			t.Errorf("Open: %v", err)
		}
		if err := tr.Publish(canceled(), tr.events(1, 1, 1), nil); !errors.Is(err, context.Canceled) {
			t.Errorf("Publish: %v", err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		go func() {
			defer cancel()
			until(t, "a full window", func() bool { return tr.Status().Pending == 10 })
		}()
		if err := tr.Publish(ctx, tr.events(11, 1, 1), nil); !errors.Is(err, context.Canceled) {
			t.Errorf("Publish: %v", err)
		}
		if err := tr.forward(ctx, "1", nil); !errors.Is(err, context.Canceled) {
			t.Errorf("Forward: %v", err)
		}
		if st := tr.Status(); st.Pending != 10 || st.Oldest <= 0 || st.Available {
			t.Errorf("%+v", st)
		}
	})
}

// closeConnected connects a sink twice, and closes it while it publishes.
func closeConnected(t *testing.T, tr *trial) {
	t.Helper()
	for range 2 {
		if err := tr.Open(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	tr.publish(tr.events(1000, 1, 1))
	tr.Close()
}

// Close leaves no goroutine behind. The test has no other beside it.
func TestCloseEndsGoroutines(t *testing.T) {
	url := fakeBroker(t)
	tr := try(t, nil, Options{URLs: []string{url}})
	before := runtime.NumGoroutine()
	closeConnected(t, tr)
	until(t, "the end of all goroutines", func() bool { return runtime.NumGoroutine() <= before })
}

// testTooLarge has events among others that the broker closes the channel for.
func testTooLarge(t *testing.T, node *rabbitmq.Node) {
	var aside []string
	tr := try(t, node, Options{DeadLetter: func(ev *sinks.Event, reason error) error {
		aside = append(aside, fmt.Sprintf("%s %d %v", ev.Type, len(ev.Data), reason))
		return nil
	}})
	queue := tr.connect()
	all := tr.events(1000, 4, 100)
	poison := sinks.Event{Shard: 1, Session: "s", Type: []byte("GUILD_CREATE"), Data: []byte(strings.Repeat("x", largest+1))}
	all = append(all[:300:300], append([]sinks.Event{poison, poison}, all[300:]...)...)
	tr.publish(all)
	tr.publish([]sinks.Event{poison}) // nothing behind it
	tr.untilAcked(1003)
	tr.Close()
	tr.check(queue)
	if len(aside) != 3 {
		t.Fatalf("set aside: %q", aside)
	}
	for _, a := range aside {
		if !strings.HasPrefix(a, fmt.Sprintf("GUILD_CREATE %d ", largest+1)) || !strings.Contains(a, "message size") {
			t.Errorf("set aside: %q", a)
		}
	}
	if st := tr.Status(); st.DeadLettered[tooLarge] != 3 || st.Published != 1000 {
		t.Errorf("%+v", st)
	}
}

// testNotEncodable has events that don't become a message.
func testNotEncodable(t *testing.T, node *rabbitmq.Node) {
	aside := 0
	tr := try(t, node, Options{
		Body: func(dst []byte, ev *sinks.Event) ([]byte, error) {
			if string(ev.Type) == "BAD" {
				return append(dst, "half"...), errors.New("no such thing")
			}
			return append(dst, ev.Data...), nil
		},
		DeadLetter: func(ev *sinks.Event, reason error) error { aside++; return nil },
	})
	queue := tr.connect()
	bad := sinks.Event{Type: []byte("BAD")}
	long := sinks.Event{Type: []byte(strings.Repeat("X", 256))}
	all := append([]sinks.Event{bad}, tr.events(100, 4, 10)...)
	all = append(append(all, long, bad), tr.events(100, 4, 10)...)
	tr.publish(append(all, long))
	tr.untilAcked(204)
	tr.Close()
	tr.check(queue)
	if st := tr.Status(); aside != 4 || st.DeadLettered[notEncodable] != 2 || st.DeadLettered[longKey] != 2 || st.Published != 200 || st.Connections > 1 {
		t.Errorf("%d set aside, %+v", aside, st)
	}
}
