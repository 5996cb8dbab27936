// This file asks the broker and the store whether they would let the gateway in.

package cli

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"strings"

	"sluice/cmd/gateway/config"
	"sluice/sinks/amqp"
)

// usesRedis returns what Redis is for by the settings; "": nothing.
func usesRedis(cfg *config.Config) string {
	broker, store := cfg.Broker.Type == config.BrokerRedis, cfg.ShardStore.Type == config.StoreRedis
	switch {
	case broker && store:
		return "broker and store"
	case broker:
		return "broker"
	case store:
		return "store"
	}
	return ""
}

// peers returns what a start connects to.
func peers(cfg *config.Config) (names []string) {
	if cfg.AsksAPI() {
		names = append(names, cfg.APIBase())
	}
	if cfg.Gateway.URL != "" {
		names = append(names, cfg.Gateway.URL)
	}
	if use := usesRedis(cfg); use != "" {
		names = append(names, fmt.Sprintf("redis at %s (%s)", addresses(cfg.Redis.URLs), use))
	}
	if cfg.Broker.Type == config.BrokerAMQP {
		names = append(names, fmt.Sprintf("amqp at %s (broker)", addresses(cfg.AMQP.URLs)))
	}
	return names
}

func addresses(urls []config.SecretURL) string {
	list := make([]string, len(urls))
	for i, u := range urls {
		list[i] = u.String()
	}
	return strings.Join(list, " ")
}

// checkBrokers logs in to the broker and the store, changes nothing there, and prints a line for each.
func checkBrokers(ctx context.Context, cfg *config.Config, stdout, stderr io.Writer) (code int) {
	report := func(line string, err error) {
		switch {
		case err == nil:
			fmt.Fprintln(stdout, cfg.Secrets().Redact(line))
			return
		case code != exitOK:
		case isMistake(err):
			code = exitUsage
		default:
			code = exitFailure
		}
		fmt.Fprintf(stderr, "error: %s\n", strings.ReplaceAll(cfg.Secrets().Redact(explain(err)), "\n", "; "))
	}
	if use := usesRedis(cfg); use != "" {
		err := checkRedis(ctx, cfg)
		report(fmt.Sprintf("redis: ok: %s answers (%s)", addresses(cfg.Redis.URLs), use), err)
	}
	if cfg.Broker.Type == config.BrokerAMQP {
		exists, err := checkAMQP(ctx, cfg)
		exchange := "the exchange %q is there"
		if !exists {
			exchange = "the exchange %q is not there, and made at the start"
		}
		report(fmt.Sprintf("amqp: ok: %s answers (broker); "+exchange, addresses(cfg.AMQP.URLs), cfg.Broker.Group), err)
	}
	return code
}

func checkRedis(ctx context.Context, cfg *config.Config) error {
	o, err := redisClient(cfg)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeoutCause(ctx, brokerTimeout, fmt.Errorf("%v have passed", brokerTimeout))
	defer cancel()
	client, err := reachRedis(ctx, cfg, o) // which sends PING
	if err == nil {
		client.Close()
	}
	return err
}

func checkAMQP(ctx context.Context, cfg *config.Config) (exists bool, err error) {
	o, err := amqpOptions(cfg, slog.New(slog.DiscardHandler))
	if err != nil {
		return false, err
	}
	ctx, cancel := context.WithTimeoutCause(ctx, brokerTimeout, fmt.Errorf("amqp: %s: no answer: %v have passed", addresses(cfg.AMQP.URLs), brokerTimeout))
	defer cancel()
	err = reach(ctx, func(ctx context.Context) (err error) {
		exists, err = amqp.Check(ctx, o)
		return err
	}, func(ctx context.Context) error { return notRabbitMQ(ctx, cfg) })
	return exists, err
}
