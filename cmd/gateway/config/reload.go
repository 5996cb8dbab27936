// This file compares two readings of the settings, and takes over from the later one what can be
// changed while the gateway runs.

package config

import (
	"bytes"
	"cmp"
	"crypto/tls"
	"errors"
	"log/slog"
	"maps"
	"reflect"
	"slices"
	"sync/atomic"
)

// Change is a setting that has another value in a later reading.
type Change struct {
	Setting
	Old, New string // as TOML or in words, secrets masked; equal if only what is masked differs
}

// Changes returns how next, read later from the same sources, differs.
func (c *Config) Changes(next *Config) (changes []Change) {
	old := c.settings()
	for i, s := range next.settings() {
		// token is that of token_file; broker.gaps follows events, which can be changed.
		if !s.Reload && !c.is(s.Key) && !next.is(s.Key) && s.Key != "token" && s.Key != "broker.gaps" {
			continue // a default, which may follow other settings
		}
		if !reflect.DeepEqual(old[i].get(), s.get()) {
			changes = append(changes, Change{s, cmp.Or(old[i].show(), s.Default), cmp.Or(s.show(), s.Default)})
		}
	}
	return changes
}

// With returns the settings with those of next that can be changed while the gateway runs.
func (c *Config) With(next *Config) *Config {
	with := *c
	with.origins = maps.Clone(c.origins)
	with.secure = next.secure
	to := with.settings()
	for i, s := range next.settings() {
		if !s.Reload {
			continue
		}
		to[i].put(s.get())
		if origin, ok := next.origins[s.Key]; ok {
			with.origins[s.Key] = origin
		} else {
			delete(with.origins, s.Key)
		}
	}
	return &with
}

// inForce has the settings that are in force for whoever has the Config that the gateway began with.
type inForce struct {
	now   atomic.Pointer[Config]
	known atomic.Pointer[Secrets]
}

// Current returns the settings in force: c, with what has been changed since by Replace. Any goroutine
// may call it.
func (c *Config) Current() *Config {
	if c.inForce == nil {
		return c
	}
	if now := c.inForce.now.Load(); now != nil {
		return now
	}
	return c
}

// Replace makes next, which With has returned, the settings in force.
func (c *Config) Replace(next *Config) {
	all := append(c.KnownSecrets(), next.Secrets()...).sorted()
	c.inForce.known.Store(&all)
	c.inForce.now.Store(next)
}

// KnownSecrets returns the secrets of the settings in force and of all that were before: what is
// written now may quote either. Any goroutine may call it.
func (c *Config) KnownSecrets() Secrets {
	if c.inForce == nil {
		return c.Secrets()
	}
	known := c.inForce.known.Load()
	if known == nil {
		first := c.Secrets()
		c.inForce.known.CompareAndSwap(nil, &first)
		known = c.inForce.known.Load()
	}
	return slices.Clip(*known)
}

// tlsTables returns the settings for TLS that are used, by their tables.
func (c *Config) tlsTables() map[string]TLSConfig {
	tables := map[string]TLSConfig{"api": {CAFile: c.API.CAFile}}
	if c.Broker.Type == BrokerRedis || c.ShardStore.Type == StoreRedis {
		tables[BrokerRedis] = c.Redis.TLS
	}
	if c.Broker.Type == BrokerAMQP {
		tables[BrokerAMQP] = c.AMQP.TLS
	}
	return tables
}

// LoadTLS reads the certificates of the settings, for Renewed.
func (c *Config) LoadTLS() error {
	secure := map[string]*tls.Config{}
	for table, t := range c.tlsTables() {
		loaded, err := t.Load(table)
		if err != nil {
			return err
		}
		secure[table] = loaded
	}
	c.secure = secure
	return nil
}

// RenewedFiles returns the settings of certificates whose files have another content for next than for c,
// of what LoadTLS has read.
func (c *Config) RenewedFiles(next *Config) (keys []string) {
	for _, table := range slices.Sorted(maps.Keys(next.secure)) {
		old, now := c.secure[table], next.secure[table]
		if old == nil {
			continue
		}
		if !old.RootCAs.Equal(now.RootCAs) {
			keys = append(keys, table+".ca_file")
		}
		if !slices.EqualFunc(old.Certificates, now.Certificates, func(a, b tls.Certificate) bool {
			return slices.EqualFunc(a.Certificate, b.Certificate, bytes.Equal)
		}) {
			keys = append(keys, table+".cert_file")
		}
	}
	return keys
}

// ParseLevel returns the level that log.level would be with the text.
func ParseLevel(text string) (slog.Level, error) {
	c := new(Config)
	r := &report{failed: map[string]bool{}}
	for _, s := range c.settings() {
		if s.Key == "log.level" {
			s.read(input{value: text, loose: true, key: s.Key, r: r})
		}
	}
	for _, p := range r.problems {
		return 0, errors.New(p.Text)
	}
	return c.Log.Level, nil
}

// Renewed returns base with the certificates in force for a table, such as redis, if they have been read
// anew since base was. A session that began with those before is not continued.
func (c *Config) Renewed(table string, base *tls.Config) *tls.Config {
	now := c.Current().secure[table]
	if now == nil || base == nil {
		return base
	}
	renewed := base.Clone()
	renewed.RootCAs, renewed.Certificates = now.RootCAs, now.Certificates
	renewed.ClientSessionCache = nil
	return renewed
}
