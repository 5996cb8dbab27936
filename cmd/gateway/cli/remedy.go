// This file says what somebody can do about an error, and what the process's exit code is. The
// engine, the sinks and the stores have typed errors; the settings have their names here.

package cli

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"

	"sluice/engine"
	"sluice/sinks/amqp"
	"sluice/sinks/redis"
	"sluice/sinks/spool"
	"sluice/wire"
)

// remedy is what somebody can do about an error: the setting to look at, if it is one, and what
// would be right.
type remedy struct {
	setting string
	text    string
	sep     string // between the error and text; ": " by default
}

// beside returns an error's text with the remedy.
func (r remedy) beside(text string) string {
	if r.setting != "" {
		text = r.setting + ": " + text
	}
	if r.sep == "" {
		r.sep = ": "
	}
	return text + r.sep + r.text
}

// String returns the remedy by itself.
func (r remedy) String() string {
	if r.setting != "" {
		return r.setting + ": " + r.text
	}
	return r.text
}

// remedyOf returns the remedy for an error, without a look at what it wraps; ok is false if none
// is known.
func remedyOf(err error) (r remedy, ok bool) {
	switch err := err.(type) {
	case *engine.FatalError:
		return remedy{text: fatalRemedy(err)}, true
	case *engine.HostError:
		return remedy{text: "if it is right, name its host in gateway.hosts"}, true
	case *wire.UntrustedError:
		return remedy{text: "api.ca_file names certificates to trust besides the system's", sep: "; "}, true
	case *spool.DiskError:
		return remedy{text: "free space on the disk, raise spool.size, or start the broker"}, true
	case *redis.ConfigError:
		r, ok = redisRemedies[err.Problem]
	case *redis.Error:
		r, ok = redisRemedies[err.Problem]
	case *redis.ReplyError:
		r, ok = redisRemedies[redis.NotRedis]
	case *amqp.ConfigError:
		return remedy{text: amqpRemedy(err), sep: "; "}, true
	case *amqp.Error:
		r, ok = amqpRemedies[err.Problem]
	}
	if err == engine.ErrSecureProxy {
		return remedy{text: "set reader.type to goroutine", sep: "; "}, true
	}
	return r, ok
}

// explain is plain, with the remedies.
func explain(err error) string {
	text, done := err.Error(), map[string]bool{}
	walk(err, func(err error) {
		said := err.Error()
		if r, ok := remedyOf(err); ok && !done[said] {
			done[said] = true
			text = strings.ReplaceAll(text, said, r.beside(said))
		}
	})
	return plainText(text, err)
}

// remedies is a slog.Handler that adds to a line with an error the attribute remedy, if one is
// known.
type remedies struct{ slog.Handler }

func (h remedies) Handle(ctx context.Context, line slog.Record) error {
	var found remedy
	line.Attrs(func(a slog.Attr) bool {
		if err, ok := a.Value.Any().(error); ok {
			walk(err, func(err error) {
				if r, ok := remedyOf(err); ok && found.text == "" {
					found = r
				}
			})
		}
		return found.text == ""
	})
	if found.text != "" {
		line = line.Clone()
		line.AddAttrs(slog.String("remedy", found.String()))
	}
	return h.Handler.Handle(ctx, line)
}

func (h remedies) WithAttrs(attrs []slog.Attr) slog.Handler {
	return remedies{h.Handler.WithAttrs(attrs)}
}

func (h remedies) WithGroup(name string) slog.Handler { return remedies{h.Handler.WithGroup(name)} }

// settingError is a mistake in a setting that only a peer's answer shows, or the disk.
type settingError struct{ error }

func (e settingError) Unwrap() error { return e.error }

// codeOf returns the process's exit code for an error: that of what Discord refuses for good is
// distinct for each cause, the last two digits of the close code, or 4 and 3 for its REST answers
// 401 and 403.
func codeOf(err error) int {
	var fatal *engine.FatalError
	switch {
	case err == nil:
		return exitOK
	case errors.As(err, new(settingError)):
		return exitUsage
	case !errors.As(err, &fatal):
		return exitFailure
	case fatal.Code != 0:
		return int(fatal.Code) % 100
	case fatal.Status == 401:
		return exitUnauthorized
	}
	return exitForbidden
}

const portal = "https://discord.com/developers/applications"

func fatalRemedy(e *engine.FatalError) string {
	switch {
	case e.Code == wire.CloseAuthenticationFailed, e.Status == 401:
		return "the token is wrong or was reset; set DISCORD_TOKEN to the bot's current token"
	case e.Status != 0:
		return "Discord refuses this bot; look at it at " + portal
	case e.Code == wire.CloseInvalidShard:
		return fmt.Sprintf("Discord does not accept shard id %d of %d for this bot; remove shards.count to use its recommendation, or set a multiple of it", e.Shard, e.Shards)
	case e.Code == wire.CloseShardingRequired:
		return fmt.Sprintf("a shard would serve more than 2,500 guilds with a shard count of %d; raise shards.count, or remove it to use Discord's recommendation", e.Shards)
	case e.Code == wire.CloseInvalidVersion:
		return "the gateway version is not served; remove gateway_version or set it to 10"
	case e.Code == wire.CloseInvalidIntents:
		return fmt.Sprintf("the intents %s hold a bit that Discord does not know; correct intents or rawintents", e.Intents)
	}
	const where = portal + " under Bot, Privileged Gateway Intents"
	if asked := e.Intents.Privileged(); asked != 0 {
		return fmt.Sprintf("the privileged intents %s are not all switched on for this bot; switch them on at %s, or remove them from intents", asked, where)
	}
	return fmt.Sprintf("one of the intents %s must be switched on for this bot, at %s, although none of them is known to need it", e.Intents, where)
}

var redisRemedies = map[redis.Problem]remedy{
	redis.Login:         {setting: "redis.urls", text: "user and password must be those of the server, as in redis://user:password@host:6379"},
	redis.Rights:        {setting: "redis.urls", text: "give the user the rights that docs/redis.md lists, with ACL SETUSER"},
	redis.Database:      {setting: "redis.urls", text: "the database number, as in redis://host:6379/0, must be one that the server has; a cluster has only 0"},
	redis.NoSentinel:    {setting: "redis.urls", text: "master_set is for Sentinels, whose port is 26379 by default: name them, or remove it"},
	redis.Untrusted:     {setting: "redis.ca_file", text: "it must hold the certificate of who signed the server's, and redis.server_name be its name"},
	redis.NotTrusted:    {setting: "redis.cert_file", text: "it must hold a certificate that the server trusts, and redis.key_file its key"},
	redis.NoTLS:         {setting: "redis.urls", text: "the server does not speak TLS on this port: use redis:// instead of rediss://"},
	redis.NoHost:        {text: "is the host of redis.urls right?"},
	redis.OutOfMemory:   {text: "raise maxmemory, shorten redis.retention, or let something else leave: Redis is full"},
	redis.NoSnapshot:    {text: "look into Redis' log: it cannot write its snapshot to disk"},
	redis.FewReplicas:   {text: "start the replicas, or lower redis.replicas"},
	redis.NoStream:      {text: "the key is not a stream: remove it, or choose other names with redis.stream"},
	redis.Moved:         {text: "name the nodes of the cluster in redis.urls, more than one"},
	redis.Loading:       {text: "wait: Redis reads its data from the disk"},
	redis.Busy:          {text: "end the script that runs, with SCRIPT KILL"},
	redis.NotMaster:     {text: "let redis.urls lead to the master"},
	redis.NotRedis:      {text: "what redis.urls leads to must be Redis, and nobody else write to the keys sluice:*"},
	redis.NoScripts:     {text: "what redis.urls leads to must be Redis, or a proxy that runs scripts as Redis does"},
	redis.ScriptUnknown: {text: "Redis has the script, and does not run it: it must not be a proxy that sends SCRIPT LOAD and EVALSHA to different servers"},
	redis.KeysChanged:   {text: "find out who else writes to the keys sluice:*"},
	redis.NoFleet:       {text: "use a Redis that is no Cluster, or name the shards of each process in shards.ids"},
}

var amqpRemedies = map[amqp.Problem]remedy{
	amqp.ExchangeDeleted: {text: "none is needed if the exchange was deleted: it is declared again"},
	amqp.NoWrite:         {text: "grant the user write on the exchange, with rabbitmqctl set_permissions"},
	amqp.NoReplies:       {text: "grant the user write on amq.default, the default exchange, with rabbitmqctl set_permissions"},
}

func amqpRemedy(e *amqp.ConfigError) string {
	switch e.Problem {
	case amqp.Untrusted:
		return "name the authority that signed it, and the host that it is made out to"
	case amqp.NotTrusted:
		return "show one that it trusts"
	case amqp.NoTLS:
		return "use amqp://, or the port of its TLS listener, which is 5671 by default"
	case amqp.NoExternal:
		return "enable its plugin rabbitmq_auth_mechanism_ssl and add EXTERNAL to its auth_mechanisms"
	case amqp.NoPlain:
		return "add PLAIN to its auth_mechanisms, or log in as EXTERNAL with a client certificate"
	case amqp.NoCertificateUser:
		return "add the user that its ssl_cert_login_from takes from the certificate, with rabbitmqctl add_user"
	case amqp.Login:
		return "correct them in the URL, or at the broker with rabbitmqctl add_user or change_password; guest may log in from the broker's own host only"
	case amqp.NoVhost:
		return fmt.Sprintf("correct the path of the URL, or run rabbitmqctl add_vhost %s and rabbitmqctl set_permissions -p %[1]s %s '.*' '.*' '.*'", e.Vhost, e.User)
	case amqp.OtherArguments:
		return fmt.Sprintf("change the settings to what exists, choose another name, or delete the %s so that it is declared anew", e.Object)
	}
	return fmt.Sprintf("run rabbitmqctl set_permissions -p %s %s with patterns that match %s", e.Vhost, e.User, e.Name)
}
