// This file asks a broker whether it would let the sink in, and changes nothing there.

package amqp

import (
	"context"

	amqp091 "github.com/rabbitmq/amqp091-go"
)

// Check logs in to the first of the brokers that lets it, and asks for the exchange without
// declaring it; exists reports whether it is there. Its errors are those of Open.
func Check(ctx context.Context, o Options) (exists bool, err error) {
	o, addresses, err := o.complete()
	if err != nil {
		return false, err
	}
	conn, t, err := (&brokers{o: &o, addresses: addresses}).connect(ctx, func(a *address, conn *amqp091.Connection, _ *tap) error {
		ch, err := conn.Channel()
		if err == nil {
			err = ch.ExchangeDeclarePassive(o.Exchange, o.Kind, true, false, false, false, nil)
		}
		switch exists = err == nil; {
		case exists || isCode(err, amqp091.NotFound):
			return nil
		}
		return explainDeclare(a, "exchange", o.Exchange, err)
	})
	if err != nil {
		return false, err
	}
	hangUp(conn, t, closeTimeout)
	return exists, nil
}
