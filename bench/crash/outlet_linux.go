// This file has the brokers: real servers, and a file.

package crash

import (
	"bufio"
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"

	amqp091 "github.com/rabbitmq/amqp091-go"
	"github.com/redis/rueidis"

	"sluice/sinks/sinktest"
	"sluice/sinks/sinktest/rabbitmq"
	"sluice/sinks/sinktest/redistest"
)

// outlet is where the gateway's events go, and what reads them there. Any goroutine may call
// its methods.
type outlet interface {
	// env is what the gateway is told.
	env() []string
	// output is where its standard output goes; nil: nowhere.
	output() (*os.File, error)
	// kill ends the server without warning, and starts it again after a pause. A file has
	// none.
	kill(pause time.Duration) error
	// away ends the server until back is called.
	away() (back func() error, err error)
	// look calls f with all that has arrived so far.
	look(f func(*arrivals))
	stop()
}

// outlets start one, by the name of the sink, in a directory of its own.
func outlets() map[string]func(dir string) (outlet, error) {
	return map[string]func(dir string) (outlet, error){
		"redis":  newRedisOutlet,
		sentinel: newSentinelOutlet,
		"amqp":   newAMQPOutlet,
		file:     newFileOutlet,
	}
}

// reader is what outlets with a server have in common.
type reader struct {
	mu       sync.Mutex
	arrivals arrivals
	end      context.CancelFunc
	ended    sync.WaitGroup
}

func (r *reader) output() (*os.File, error) { return nil, nil }

func (r *reader) look(f func(*arrivals)) {
	r.mu.Lock()
	defer r.mu.Unlock()
	f(&r.arrivals)
}

// redisOutlet is a Redis that has on its disk what it has acknowledged.
type redisOutlet struct {
	reader
	server *redistest.Server
	client rueidis.ClientOption // of what reads
}

func newRedisOutlet(dir string) (outlet, error) {
	port, err := sinktest.Port()
	if err != nil {
		return nil, err
	}
	server, err := redistest.Launch(dir, port, "--appendonly", "yes", "--appendfsync", "always")
	if err != nil {
		return nil, err
	}
	o := &redisOutlet{server: server, client: rueidis.ClientOption{InitAddress: []string{server.Addr}, ForceSingleClient: true}}
	o.begin()
	return o, nil
}

// begin begins to read.
func (o *redisOutlet) begin() {
	ctx, end := context.WithCancel(context.Background())
	o.end = end
	o.client.DisableCache = true
	o.ended.Go(func() { o.read(ctx) })
}

func (o *redisOutlet) env() []string {
	return []string{"BROKER_TYPE=redis", "REDIS_URL=" + o.server.Addr, "BROKER_ENCODING=json", "REDIS_STREAM=events",
		"REDIS_FIELDS=event,shard,session,seq", "REDIS_RETENTION=0s", "REDIS_MAX_LENGTH=2000000000"}
}

func (o *redisOutlet) kill(pause time.Duration) error {
	o.server.Kill()
	time.Sleep(pause)
	return o.server.Up()
}

func (o *redisOutlet) away() (func() error, error) {
	o.server.Kill()
	return o.server.Up, nil
}

// read reads the stream, from its beginning to the end of ctx.
func (o *redisOutlet) read(ctx context.Context) {
	var c rueidis.Client
	for last := "0"; ctx.Err() == nil; {
		if c == nil {
			var err error
			if c, err = rueidis.NewClient(o.client); err != nil {
				c = nil
				time.Sleep(20 * time.Millisecond)
				continue
			}
			defer c.Close()
		}
		got, err := c.Do(ctx, c.B().Xread().Count(1000).Block(50).Streams().Key("events").Id(last).Build()).AsXRead()
		if err != nil {
			if !rueidis.IsRedisNil(err) {
				time.Sleep(20 * time.Millisecond) // it is being restarted
			}
			continue
		}
		o.mu.Lock()
		for _, e := range got["events"] {
			v := e.FieldValues
			shard, _ := strconv.Atoi(v["shard"])
			seq, _ := strconv.ParseInt(v["seq"], 10, 64)
			ms, _ := strconv.ParseInt(strings.SplitN(e.ID, "-", 2)[0], 10, 64)
			o.arrivals.at = time.UnixMilli(ms) // this may read much later
			o.arrivals.add(shard, v["session"], seq, v["event"], []byte(v["data"]))
			last = e.ID
		}
		o.mu.Unlock()
	}
}

func (o *redisOutlet) stop() {
	o.end()
	o.ended.Wait()
	o.server.Kill()
}

// amqpOutlet is a RabbitMQ with one durable queue.
type amqpOutlet struct {
	reader
	node *rabbitmq.Node
}

func newAMQPOutlet(dir string) (outlet, error) {
	node, err := rabbitmq.Launch(dir, "")
	if err != nil {
		return nil, err
	}
	o := &amqpOutlet{node: node}
	conn, _, err := o.open()
	if err != nil {
		node.Close()
		return nil, err
	}
	conn.Close()
	ctx, end := context.WithCancel(context.Background())
	o.end = end
	o.ended.Go(func() {
		for ctx.Err() == nil {
			o.read(ctx)
		}
	})
	return o, nil
}

func (o *amqpOutlet) env() []string {
	return []string{"BROKER_TYPE=amqp", "AMQP_URL=" + o.node.URL(), "BROKER_ENCODING=json", "AMQP_EXCHANGE_TYPE=topic", "BROKER_GROUP=crash",
		"AMQP_PERSISTENT=true", "BROKER_MESSAGE_TIMEOUT=24h"}
}

func (o *amqpOutlet) kill(pause time.Duration) error {
	o.node.Kill()
	time.Sleep(pause)
	return o.node.Up()
}

func (o *amqpOutlet) away() (func() error, error) {
	o.node.Kill()
	return o.node.Up, nil
}

// open returns a connection and its channel, with the exchange and the queue.
func (o *amqpOutlet) open() (*amqp091.Connection, *amqp091.Channel, error) {
	conn, err := amqp091.Dial(o.node.URL())
	if err != nil {
		return nil, nil, err
	}
	ch, err := conn.Channel()
	if err == nil {
		err = ch.ExchangeDeclare("crash", "topic", true, false, false, false, nil)
	}
	if err == nil {
		_, err = ch.QueueDeclare("events", true, false, false, false, nil)
	}
	if err == nil {
		err = ch.QueueBind("events", "#", "crash", false, nil)
	}
	if err == nil {
		err = ch.Qos(500, 0, false)
	}
	if err != nil {
		conn.Close()
	}
	return conn, ch, err
}

// read reads the queue until its connection or ctx ends.
func (o *amqpOutlet) read(ctx context.Context) {
	conn, ch, err := o.open()
	if err != nil {
		time.Sleep(50 * time.Millisecond)
		return
	}
	defer conn.Close()
	messages, err := ch.ConsumeWithContext(ctx, "events", "", false, false, false, false, nil)
	if err != nil {
		return
	}
	for m := range messages {
		shard, _ := m.Headers["shard"].(int64)
		seq, _ := m.Headers["seq"].(int64)
		session, _ := m.Headers["session"].(string)
		epoch, _ := m.Headers["epoch"].(int64) // 0: of no fleet
		o.mu.Lock()
		o.arrivals.follow(epoch, m.Redelivered, int(shard), session, seq, m.RoutingKey, m.Body)
		o.mu.Unlock()
		m.Ack(false)
	}
}

func (o *amqpOutlet) stop() {
	o.end()
	o.ended.Wait()
	o.node.Close()
}

// fileOutlet is a file that standard output is appended to.
type fileOutlet struct {
	reader
	name string
	read int64 // bytes
}

func newFileOutlet(dir string) (outlet, error) {
	return &fileOutlet{name: filepath.Join(dir, "events.jsonl")}, nil
}

func (o *fileOutlet) output() (*os.File, error) {
	return os.OpenFile(o.name, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
}

func (o *fileOutlet) env() []string { return []string{"BROKER_TYPE=stdio"} }

func (o *fileOutlet) kill(time.Duration) error { return nil }

func (o *fileOutlet) away() (func() error, error) { return func() error { return nil }, nil }

// look reads whole lines only: the last one may be under way.
func (o *fileOutlet) look(f func(*arrivals)) {
	o.mu.Lock()
	defer o.mu.Unlock()
	defer func() { f(&o.arrivals) }()
	file, err := os.Open(o.name)
	if err != nil {
		return // nothing has been written
	}
	defer file.Close()
	file.Seek(o.read, 0)
	for lines := bufio.NewReaderSize(file, 1<<20); ; {
		line, err := lines.ReadBytes('\n')
		if err != nil {
			return
		}
		o.read += int64(len(line))
		var e struct {
			Event   string
			Shard   int
			Session string
			Seq     int64
			Data    json.RawMessage
		}
		if json.Unmarshal(line, &e) != nil {
			o.arrivals.torn++
			continue
		}
		o.arrivals.add(e.Shard, e.Session, e.Seq, e.Event, e.Data)
	}
}

func (o *fileOutlet) stop() {}
