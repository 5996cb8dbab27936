// This file is what the peers in Go have in common.

// Package peer keeps the protocol of a program that the load harness measures:
// "gateway-bench help run" has it.
package peer

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"os"
	"os/signal"
	"strconv"
	"sync/atomic"
	"syscall"
)

// Config is what the harness asks for.
type Config struct {
	Token       string
	API         string // base of the REST API
	Shards      int
	Intents     int
	Compression string
	Sample      int64
	TLS         *tls.Config
}

// Load reads the environment. A mistake in it ends the process.
func Load() Config {
	c := Config{
		Token: os.Getenv("DISCORD_TOKEN"), API: os.Getenv("DISCORD_API_URL"), Compression: os.Getenv("DISCORD_COMPRESSION"),
		Shards: number("DISCORD_SHARD_COUNT", 1), Intents: number("DISCORD_INTENTS", 0), Sample: int64(number("BENCH_SAMPLE", 1)),
		TLS: &tls.Config{},
	}
	if file := os.Getenv("DISCORD_API_CA_FILE"); file != "" {
		pem, err := os.ReadFile(file)
		if err != nil {
			Fail(err)
		}
		c.TLS.RootCAs = x509.NewCertPool()
		c.TLS.RootCAs.AppendCertsFromPEM(pem)
	}
	return c
}

func number(name string, absent int) int {
	text := os.Getenv(name)
	if text == "" {
		return absent
	}
	n, err := strconv.Atoi(text)
	if err != nil {
		Fail(fmt.Errorf("%s is %q, not a number", name, text))
	}
	return n
}

// Fail ends the process with an error.
func Fail(err error) {
	fmt.Fprintln(os.Stderr, err)
	os.Exit(1)
}

// Hello says what the program is and what compression it really uses.
func Hello(name, compression string) {
	line, err := json.Marshal(struct {
		Peer        string `json:"peer"`
		Compression string `json:"compression"`
	}{name, compression})
	if err != nil {
		Fail(err)
	}
	os.Stdout.Write(append(line, '\n'))
}

// Counter counts events. Its methods may be called from any goroutine.
type Counter struct {
	Sample int64
	events atomic.Int64
}

// Count counts an event, and writes it if its turn has come.
func (c *Counter) Count(shard int, seq int64, name string) {
	c.events.Add(1)
	if seq == 0 || seq%c.Sample != 0 {
		return
	}
	var line [256]byte
	b := append(line[:0], `{"event":"`...)
	b = append(b, name...)
	b = append(b, `","shard":`...)
	b = strconv.AppendInt(b, int64(shard), 10)
	b = append(b, `,"seq":`...)
	b = strconv.AppendInt(b, seq, 10)
	os.Stdout.Write(append(b, "}\n"...))
}

// Wait returns when the process is asked to stop, with the count as the last line.
func (c *Counter) Wait() {
	stop := make(chan os.Signal, 1)
	signal.Notify(stop, syscall.SIGTERM, os.Interrupt)
	<-stop
	var b bytes.Buffer
	fmt.Fprintf(&b, "{\"count\":%d}\n", c.events.Load())
	os.Stdout.Write(b.Bytes())
}
