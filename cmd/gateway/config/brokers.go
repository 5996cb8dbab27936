// This file is the table of brokers: a new broker is a row here, and its settings.

package config

import (
	"fmt"
	"slices"
	"strings"
)

// brokerRow is what the settings have of a broker.
type brokerRow struct {
	name  string   // of broker.type, and of the table of its settings
	title string   // what follows the name in messages, or empty
	other []string // what it is called by mistake, in lower case

	// The setting of its addresses, which may hold passwords. Empty: it is no server.
	key     string
	example string // of its value in the file
	urls    func(c *Config) []SecretURL
}

// brokers is the table, in the order in which brokers are named.
var brokers = []brokerRow{
	{name: BrokerStdio, other: []string{"stdout", "stdin", "console", "none"}},
	{name: BrokerRedis, other: []string{"rediss", "valkey", "keydb"},
		key: "redis.urls", example: `["localhost:6379"]`, urls: func(c *Config) []SecretURL { return c.Redis.URLs }},
	{name: BrokerAMQP, title: " (RabbitMQ)", other: []string{"rabbitmq", "rabbit", "amqps", "amqp091"},
		key: "amqp.url", example: `"amqp://localhost"`, urls: func(c *Config) []SecretURL { return c.AMQP.URLs }},
}

// isBroker reports whether a broker has the name.
func isBroker(name string) bool {
	return slices.ContainsFunc(brokers, func(b brokerRow) bool { return b.name == name })
}

// brokerTrouble says what is wrong with the name of a broker.
func brokerTrouble(s string) string {
	if isBroker(s) {
		return ""
	}
	var names, titles []string
	hint := ""
	for _, b := range brokers {
		names, titles = append(names, b.name), append(titles, b.name+b.title)
		if slices.Contains(b.other, strings.ToLower(s)) {
			hint = "; did you mean " + b.name + "?"
		}
	}
	if hint == "" {
		hint = didYouMean(s, names)
	}
	last := len(titles) - 1
	return fmt.Sprintf("%.60q is not supported: there are %s and %s%s", s, strings.Join(titles[:last], ", "), titles[last], hint)
}

// validateAddress checks that a broker has an address, for a setting that needs one.
func (l *loader) validateAddress(b brokerRow, setting, value string) {
	if b.urls == nil || len(b.urls(l.Config)) > 0 || l.failed[b.key] {
		return
	}
	i := slices.IndexFunc(l.table, func(s Setting) bool { return s.Key == b.key })
	l.add(Error, l.origins[setting], b.key, "missing, and %s is %s; set %s, or %s in the file, such as %s", setting, value, l.table[i].Env, b.key, b.example)
}
