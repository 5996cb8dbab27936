//go:build linux

// This file tests what follows when somebody removes a part of what the sink has declared,
// and when one bot's message is not as it should be.

package amqp

import (
	"errors"
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	amqp091 "github.com/rabbitmq/amqp091-go"

	"sluice/sinks/sinktest/rabbitmq"
)

// documented runs the line of docs/rabbitmq.md that grants the gateway's user its rights,
// for a user and an exchange of the names given in place of gateway.
func documented(t *testing.T, node *rabbitmq.Node, user, exchange string) {
	t.Helper()
	text, err := os.ReadFile("../../docs/rabbitmq.md")
	if err != nil {
		t.Fatal(err)
	}
	m := regexp.MustCompile(`(?m)^rabbitmqctl (set_permissions -p /) (gateway) '(.+)' '(.+)' '(.+)'$`).FindStringSubmatch(string(text))
	if m == nil {
		t.Fatal("docs/rabbitmq.md has no line with the rights")
	}
	args := append(strings.Fields(m[1]), user)
	for _, pattern := range m[3:] {
		args = append(args, strings.ReplaceAll(pattern, "gateway", exchange))
	}
	node.Ctl(args...)
}

// bot publishes commands, and reads the replies.
type bot struct {
	t       *testing.T
	tr      *trial
	ch      *amqp091.Channel
	queue   string
	replies <-chan amqp091.Delivery
}

func newBot(tr *trial) *bot {
	tr.t.Helper()
	ch := channel(tr.t, dial(tr.t, tr.node.URL()))
	q, err := ch.QueueDeclare("", false, true, true, false, nil)
	if err != nil {
		tr.t.Fatal(err)
	}
	replies, err := ch.Consume(q.Name, "", true, false, false, false, nil)
	if err != nil {
		tr.t.Fatal(err)
	}
	return &bot{tr.t, tr, ch, q.Name, replies}
}

func (b *bot) send(key string, p amqp091.Publishing) {
	b.t.Helper()
	if err := b.ch.Publish(b.tr.o.Exchange, key, false, false, p); err != nil {
		b.t.Fatal(err)
	}
}

// ask sends a command and waits for the reply.
func (b *bot) ask(key, body string) string {
	b.t.Helper()
	b.send(key, amqp091.Publishing{Body: []byte(body), ReplyTo: b.queue, CorrelationId: body})
	select {
	case d, ok := <-b.replies:
		if !ok || d.CorrelationId != body {
			b.t.Fatalf("a reply for %q, want one for %q", d.CorrelationId, body)
		}
		return string(d.Body)
	case <-time.After(patience):
		b.t.Fatalf("no reply for %q; the queues:\n%s", body, b.tr.node.Ctl("list_queues", "name", "messages_ready", "messages_unacknowledged", "consumers", "state"))
		return ""
	}
}

const okReply = "\x81\xa2ok\xc3"

// testRights has everything that the gateway does at a broker done with the rights that
// the documentation grants, and with no other.
func testRights(t *testing.T, node *rabbitmq.Node) {
	node.AddUser("documented", "s3cret", "^$", "^$", "^$")
	documented(t, node, "documented", "rights")
	user := "amqp://documented:s3cret@" + node.Addr
	tr := try(t, node, Options{URLs: []string{user}, Exchange: "rights", Mandatory: true})
	tr.every = 20 * time.Millisecond
	queue := tr.connect()
	l, stop := tr.listen([]int{0, 1}, false)
	other := try(t, node, Options{URLs: []string{user}, Exchange: "rights"})
	other.bound("SEND", "0", "1") // by forwarding
	b := newBot(tr)
	for _, key := range []string{"SEND", "0", "1"} {
		if got := b.ask(key, "command "+key); got != okReply {
			t.Errorf("%s: the reply is %q", key, got)
		}
		if n := l.count(key); n != 2 {
			t.Errorf("%s: %d commands, want 2", key, n)
		}
	}
	tr.publish(tr.events(1000, 4, 10))
	tr.untilAcked(1000)
	tr.check(queue)
	// Meanwhile the checks of the topology have declared and bound everything again and again.
	stop()
	// So does who reads a queue that is deleted. RabbitMQ 3.10 delivers nothing more to a consumer
	// if somebody declares the queue while it handles the deletion: here nobody else does.
	late := try(t, node, Options{URLs: []string{user}, Exchange: "rights"})
	late.every = time.Hour
	late.listen([]int{0, 1}, false)
	until(t, "the consumer", func() bool { q, err := late.inspect("1"); return err == nil && q.Consumers == 1 })
	if _, err := b.ch.QueueDelete("rights:1", false, false, false); err != nil {
		t.Fatal(err)
	}
	newBot(late).routed("1")
	if got := b.ask("1", "afterwards"); got != okReply {
		t.Errorf("the reply is %q", got)
	}
	if strings.Contains(tr.log.String()+other.log.String()+late.log.String(), "REFUSED") {
		t.Errorf("a right is missing")
	}
}

// testReplyRefused has a user that may not publish replies: the channel that reads commands
// stays open, and no command comes again.
func testReplyRefused(t *testing.T, node *rabbitmq.Node) {
	node.AddUser("mute", "s3cret", "^mute", "^mute", "^mute")
	tr := try(t, node, Options{URLs: []string{"amqp://mute:s3cret@" + node.Addr}, Exchange: "mute"})
	l, _ := tr.listen([]int{0}, false)
	until(t, "the consumers", func() bool { q, err := tr.inspect("0"); return err == nil && q.Consumers == 1 })
	l.mu.Lock()
	l.hold = true
	l.mu.Unlock()
	b := newBot(tr)
	b.send("0", amqp091.Publishing{Body: []byte("waits")}) // and would be delivered again
	until(t, "a command", func() bool { return l.count("0") == 1 })
	l.mu.Lock()
	l.hold = false
	l.mu.Unlock()
	for i := range 20 {
		b.send("SEND", amqp091.Publishing{Body: fmt.Append(nil, i), ReplyTo: b.queue, CorrelationId: fmt.Sprint(i)})
	}
	until(t, "the commands", func() bool { return l.count("SEND") == 20 })
	until(t, "a line", func() bool { return tr.log.count(problemText(NoReplies)) == 1 })
	node.SetPermissions("mute", "^mute", "^(mute.*|amq\\.default)$", "^mute")
	// What was in flight may be refused yet: RabbitMQ keeps rights for a moment.
	got := ""
	for i := 0; got == ""; i++ {
		b.send("SEND", amqp091.Publishing{Body: []byte("again"), ReplyTo: b.queue, CorrelationId: fmt.Sprint("again ", i)})
		select {
		case d := <-b.replies:
			got = string(d.Body)
		case <-time.After(50 * time.Millisecond):
		}
	}
	if got != okReply {
		t.Errorf("the reply is %q", got)
	}
	if l.count("0") != 1 {
		t.Errorf("a command was delivered again")
	}
	if n := tr.log.count("reply to a command refused"); n != 1 {
		t.Errorf("%d lines in a minute", n)
	}
	if tr.log.count("unavailable; reading no commands") != 0 {
		t.Errorf("the connection was lost")
	}
}

// testOddCommands has messages that a bot should not send, among others of another bot.
func testOddCommands(t *testing.T, node *rabbitmq.Node) {
	tr := try(t, node, Options{})
	l, _ := tr.listen([]int{0}, false)
	until(t, "the consumers", func() bool { q, err := tr.inspect("0"); return err == nil && q.Consumers == 1 })
	b := newBot(tr)
	deep := amqp091.Table{"end": nil}
	for range 30 { // what amqp091-go writes at most
		deep = amqp091.Table{"x": deep}
	}
	many := make(amqp091.Table)
	for i := range 9000 { // more than amqp091-go reads
		many[fmt.Sprint(i)] = nil
	}
	const most = 64 << 10 // bytes of a command
	large := strings.Repeat("x", most+1)
	odd := []amqp091.Publishing{
		{Body: []byte("nowhere"), ReplyTo: "no such queue", CorrelationId: "1"},
		{Body: []byte("long"), ReplyTo: strings.Repeat("r", 255), CorrelationId: strings.Repeat("c", 255)},
		{Body: []byte("token"), ReplyTo: "amq.rabbitmq.reply-to.x.y", CorrelationId: "1"},
		{Body: []byte(large[:most])},
		{Body: []byte("deep"), Headers: deep},
		{Body: []byte("many"), Headers: many},
		{Body: []byte("types"), Headers: amqp091.Table{"a": []any{int8(1), amqp091.Decimal{}, time.Time{}, 1.5, float32(1), nil, []byte("x")}}},
		{Body: []byte("properties"), ContentType: "a", ContentEncoding: "b", DeliveryMode: 2, Priority: 9, Expiration: "60000", MessageId: "m",
			Timestamp: time.Now(), Type: "t", UserId: "guest", AppId: "app"},
		{},
	}
	want := 0
	for _, p := range odd {
		b.send("SEND", p)
		want++
		if got := b.ask("SEND", fmt.Sprint("after ", want)); got != okReply {
			t.Errorf("the reply is %q", got)
		}
		want++
	}
	b.send("SEND", amqp091.Publishing{Body: []byte(large)})
	b.send("SEND", amqp091.Publishing{Body: []byte(large), ReplyTo: b.queue, CorrelationId: "large"})
	if d := <-b.replies; d.CorrelationId != "large" || !strings.Contains(string(d.Body), "65537 bytes") {
		t.Errorf("%s: the reply is %q", d.CorrelationId, d.Body)
	}
	if got := b.ask("SEND", "the last"); got != okReply {
		t.Errorf("the reply is %q", got)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if got := l.got["SEND"]; len(got) != want+1 || !slices.Contains(got, "properties") {
		t.Errorf("%d commands %.40q, want %d", len(got), got, want+1)
	}
	if tr.log.count("unavailable; reading no commands") != 0 || tr.Status().Connections > 1 {
		t.Errorf("a connection was lost: %+v", tr.Status())
	}
}

// routed waits until a command with the key is taken.
func (b *bot) routed(key string) {
	b.t.Helper()
	returns := b.ch.NotifyReturn(make(chan amqp091.Return, 1000))
	if err := b.ch.Confirm(false); err != nil {
		b.t.Fatal(err)
	}
	until(b.t, "the binding of "+key, func() bool {
		c, err := b.ch.PublishWithDeferredConfirm(b.tr.o.Exchange, key, true, false, amqp091.Publishing{Body: []byte("routed")})
		if err != nil {
			b.t.Fatal(err)
		}
		c.Wait()
		return len(returns) == 0 || func() bool { <-returns; return false }()
	})
}

// testExchangeDeletedCommands has the exchange deleted while events are published: the
// queues of commands are bound again, long before they are looked at by the clock.
func testExchangeDeletedCommands(t *testing.T, node *rabbitmq.Node) {
	tr := try(t, node, Options{})
	tr.every = time.Hour
	l, _ := tr.listen([]int{0, 5}, false)
	tr.bound("SEND", "0", "5")
	if err := channel(t, dial(t, node.URL())).ExchangeDelete(tr.o.Exchange, false, false); err != nil {
		t.Fatal(err)
	}
	tr.publish(tr.events(100, 4, 10))
	tr.untilAcked(100)
	for _, key := range []string{"SEND", "0", "5"} {
		newBot(tr).routed(key)
		until(t, "a command", func() bool { return l.count(key) == 2 })
	}
	if tr.log.count("NOT_FOUND") != 1 || tr.log.count(problemText(ExchangeDeleted)) != 1 || tr.log.count("unavailable; reading no commands") != 0 {
		t.Errorf("the log does not say once what happened")
	}
}

// testExchangeDeletedIdle has it deleted while there are no events.
func testExchangeDeletedIdle(t *testing.T, node *rabbitmq.Node) {
	tr := try(t, node, Options{})
	tr.every = 20 * time.Millisecond
	l, _ := tr.listen([]int{0}, false)
	tr.bound("SEND", "0")
	if err := channel(t, dial(t, node.URL())).ExchangeDelete(tr.o.Exchange, false, false); err != nil {
		t.Fatal(err)
	}
	// What is deleted between the two steps of a check, which looks and then declares, is
	// declared again without a line: it is deleted again.
	until(t, "the exchange to be missed", func() bool {
		again := channel(t, dial(t, node.URL()))
		exists := again.ExchangeDeclarePassive(tr.o.Exchange, "direct", true, false, false, false, nil) == nil
		if exists && tr.log.count("the exchange was deleted") == 0 {
			if err := again.ExchangeDelete(tr.o.Exchange, false, false); err != nil {
				t.Fatal(err)
			}
		}
		return tr.log.count("the exchange was deleted") == 1
	})
	for _, key := range []string{"SEND", "0"} {
		until(t, "a binding", func() bool { return tr.forward(t.Context(), key, []byte("x")) == nil })
		until(t, "a command", func() bool { return l.count(key) == 2 })
	}
	if tr.Status().Connections > 1 || tr.log.count("the exchange was deleted") != 1 {
		t.Errorf("%+v", tr.Status())
	}
}

// testExchangeOfAnotherType has somebody declare the exchange with another type: no event
// is given to it.
func testExchangeOfAnotherType(t *testing.T, node *rabbitmq.Node) {
	tr := try(t, node, Options{})
	tr.every = 20 * time.Millisecond
	tr.connect()
	tr.listen([]int{0}, false)
	tr.bound("0")
	tr.publish(tr.events(10, 1, 10))
	tr.untilAcked(10)
	ch := channel(t, dial(t, node.URL()))
	for { // the gateway declares it, too
		if err := ch.ExchangeDelete(tr.o.Exchange, false, false); err != nil {
			t.Fatal(err)
		}
		if err := ch.ExchangeDeclare(tr.o.Exchange, "headers", true, false, false, false, nil); err == nil {
			break
		}
		ch = channel(t, dial(t, node.URL()))
	}
	until(t, "the end of publishing", func() bool { return !tr.Status().Available })
	tr.publish(tr.events(10, 1, 10))
	until(t, "a line", func() bool {
		return tr.log.count("unavailable; buffering events") == 1 && tr.log.count("inequivalent arg 'type'") >= 1
	})
	if n := tr.acked.Load(); n != 10 {
		t.Errorf("%d events acknowledged; the exchange drops them", n)
	}
	if err := ch.ExchangeDelete(tr.o.Exchange, false, false); err != nil {
		t.Fatal(err)
	}
	tr.untilAcked(20)
	until(t, "commands", func() bool { return tr.forward(t.Context(), "0", []byte("x")) == nil })
}

// testQueueDeleted has a queue of commands deleted: it is read again, and what waits of the
// others does not come again.
func testQueueDeleted(t *testing.T, node *rabbitmq.Node) {
	tr := try(t, node, Options{})
	l, _ := tr.listen([]int{0, 1}, true)
	tr.bound("SEND", "0", "1")
	until(t, "the commands", func() bool { return l.count("SEND") == 1 && l.count("0") == 1 && l.count("1") == 1 })
	ch := channel(t, dial(t, node.URL()))
	for i := range 3 {
		if _, err := ch.QueueDelete(tr.o.Exchange+":1", false, false, false); err != nil {
			t.Fatal(err)
		}
		until(t, "the binding", func() bool { return tr.forward(t.Context(), "1", []byte("x")) == nil })
		until(t, "a command", func() bool { return l.count("1") == 2+i })
	}
	if l.count("SEND") != 1 || l.count("0") != 1 {
		t.Errorf("commands of other queues came again")
	}
	if tr.log.count("a queue of commands was deleted") != 1 || tr.log.count("unavailable; reading no commands") != 0 {
		t.Errorf("the log does not say once what happened")
	}
}

func testBindingRemoved(t *testing.T, node *rabbitmq.Node) {
	tr := try(t, node, Options{})
	tr.every = 20 * time.Millisecond
	l, _ := tr.listen([]int{0, 1}, false)
	tr.bound("SEND", "0", "1")
	if err := channel(t, dial(t, node.URL())).QueueUnbind(tr.o.Exchange+":1", "1", tr.o.Exchange, nil); err != nil {
		t.Fatal(err)
	}
	newBot(tr).routed("1")
	until(t, "a command", func() bool { return l.count("1") == 2 })
}

// testForwardRefused has a command for another process that its queue refuses: it is tried
// again more and more slowly, the log says so once, and it arrives in the end; Close does not wait
// for the next attempt.
func testForwardRefused(t *testing.T, node *rabbitmq.Node) {
	tr := try(t, node, Options{})
	tr.connect()
	ch := channel(t, dial(t, node.URL()))
	queue := tr.o.Exchange + ":7"
	if _, err := ch.QueueDeclare(queue, true, false, false, false, amqp091.Table{"x-max-length": 1, "x-overflow": "reject-publish"}); err != nil {
		t.Fatal(err)
	}
	if err := ch.QueueBind(queue, "7", tr.o.Exchange, false, nil); err != nil {
		t.Fatal(err)
	}
	if err := tr.forward(t.Context(), "7", []byte("first")); err != nil {
		t.Fatal(err)
	}
	done := make(chan error)
	go func() { done <- tr.forward(t.Context(), "7", []byte("second")) }()
	until(t, "a line", func() bool { return tr.log.count("command not forwarded; retrying") == 1 })
	until(t, "the queue to be empty", func() bool {
		d, ok, err := ch.Get(queue, true)
		return err == nil && ok && string(d.Body) == "first"
	})
	if err := <-done; err != nil {
		t.Error(err)
	}
	if all := drain(t, node.URL(), queue); len(all) != 1 || string(all[0].Body) != "second" {
		t.Errorf("%v", all)
	}

	closed := try(t, node, Options{Exchange: tr.o.Exchange})
	closed.retry = time.Hour
	closed.connect()
	if err := closed.forward(t.Context(), "7", []byte("third")); err != nil {
		t.Fatal(err)
	}
	go func() { done <- closed.forward(t.Context(), "7", []byte("fourth")) }()
	until(t, "a refusal", func() bool { return closed.log.count("command not forwarded; retrying") == 1 })
	go closed.Close()
	select {
	case err := <-done:
		if !errors.Is(err, ErrClosed) {
			t.Error(err)
		}
	case <-time.After(patience):
		t.Error("the sink is closed, and its message waits for the next attempt")
	}
}
