// This file is the broker amqp: RabbitMQ.

package cli

import (
	"context"
	"crypto/tls"
	"fmt"
	"log/slog"
	"time"

	"sluice/cmd/gateway/config"
	"sluice/engine"
	"sluice/sinks"
	"sluice/sinks/amqp"
	"sluice/sinks/broker"
	"sluice/sinks/commands"
)

func amqpBroker() Broker {
	return Broker{
		Name: config.BrokerAMQP, Title: "RabbitMQ",
		sink: newAMQP,
		commands: func(ctx context.Context, _ *config.Config, member *membership, sink sinks.Opener, e *engine.Engine, counts *commands.Counts, _ *slog.Logger) {
			eachGeneration(ctx, e, func(ctx context.Context, g engine.Generation) {
				if member == nil {
					sink.(*amqp.Sink).Relay(ctx, g.Settled, g.IDs, g.Shards, counts, e.Send)
					return
				}
				fleet := amqp.CommandFleet{Shards: shardsNow(ctx, g, e), Trusted: member.fleet.Trusted}
				sink.(*amqp.Sink).RelayFleet(ctx, g.Settled, fleet, g.Shards, counts, e.Send)
			})
		},
		format: func(cfg *config.Config) string { return cfg.Broker.Encoding.String() },
		server: &server{
			setting: "amqp.url", scheme: "amqp", port: "5672", securePort: "5671",
			urls: func(cfg *config.Config) []config.SecretURL { return cfg.AMQP.URLs },
			login: func(ctx context.Context, cfg *config.Config) (note string, err error) {
				o, err := amqpOptions(cfg, slog.New(slog.DiscardHandler))
				if err != nil {
					return "", err
				}
				note = "the exchange %q is there"
				exists, err := amqp.Check(ctx, o)
				if !exists {
					note = "the exchange %q is not there, and made at the start"
				}
				return fmt.Sprintf(note, cfg.Broker.Group), err
			},
		},
	}
}

// amqpOptions returns how RabbitMQ is reached and used by the settings.
func amqpOptions(cfg *config.Config, log *slog.Logger) (amqp.Options, error) {
	o := amqp.Options{
		External:      cfg.AMQP.External,
		Heartbeat:     cfg.AMQP.Heartbeat,
		Exchange:      cfg.Broker.Group,
		Kind:          cfg.AMQP.ExchangeType,
		RoutingKey:    cfg.AMQP.RoutingKey.Append,
		Body:          broker.Format{Encoding: cfg.Broker.Encoding, Envelope: cfg.Broker.Envelope}.Append,
		ExpirationNow: func() time.Duration { return cfg.Current().Broker.MessageTimeout },
		RenewTLS:      func(secure *tls.Config) *tls.Config { return cfg.Renewed("amqp", secure) },
		Persistent:    cfg.AMQP.Persistent,
		Mandatory:     cfg.AMQP.Mandatory,
		Headers:       cfg.AMQP.Headers,
		DeadLetter:    deadLetters(cfg, log),
		Prefetch:      cfg.AMQP.Prefetch,
		Log:           log,
	}
	for _, u := range cfg.AMQP.URLs {
		o.URLs = append(o.URLs, u.Reveal())
	}
	var err error
	o.TLS, err = cfg.AMQP.TLS.Load("amqp")
	return o, err
}

func newAMQP(cfg *config.Config, member *membership, log *slog.Logger) (sinks.Opener, error) {
	o, err := amqpOptions(cfg, log)
	if err != nil {
		return nil, err
	}
	if member != nil {
		o.Owner = member.owner
	}
	sink, err := amqp.New(o)
	if err != nil {
		return nil, settingError{fmt.Errorf("amqp.url: %w", err)}
	}
	return sink, nil
}
