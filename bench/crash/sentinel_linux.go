// This file has a Redis whose replica is promoted when it has fallen behind.

package crash

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/redis/rueidis"

	"sluice/sinks/sinktest"
	"sluice/sinks/sinktest/redistest"
)

// sentinel is the name of the outlet that is a Redis with a replica and a Sentinel.
const sentinel = "redis by sentinel"

// sentinelOutlet is a Redis that is found by a Sentinel.
type sentinelOutlet struct {
	redisOutlet
	replica, sentinel *redistest.Server
}

func newSentinelOutlet(dir string) (outlet, error) {
	o := new(sentinelOutlet)
	err := o.start(dir)
	if err != nil {
		for _, s := range []*redistest.Server{o.server, o.replica, o.sentinel} {
			if s != nil {
				s.Kill()
			}
		}
		return nil, err
	}
	o.client = rueidis.ClientOption{InitAddress: []string{o.sentinel.Addr}, Sentinel: rueidis.SentinelOption{MasterSet: "fleet"}}
	o.begin()
	return o, nil
}

// start starts the servers. The replica follows as a user of its own, which is refused when it shall fall behind.
func (o *sentinelOutlet) start(dir string) error {
	var ports [3]int
	for i, name := range []string{"master", "replica", "sentinel"} {
		var err error
		if ports[i], err = sinktest.Port(); err != nil {
			return err
		}
		if err := os.Mkdir(filepath.Join(dir, name), 0o700); err != nil {
			return err
		}
	}
	var err error
	aof := []string{"--appendonly", "yes", "--appendfsync", "always"}
	if o.server, err = redistest.Launch(filepath.Join(dir, "master"), ports[0], aof...); err != nil {
		return err
	}
	if _, err = o.server.TryCLI("acl", "setuser", "replica", "on", ">follows", "+@all", "~*", "&*"); err != nil {
		return err
	}
	follow := append(aof, "--replicaof", "127.0.0.1 "+strconv.Itoa(ports[0]), "--masteruser", "replica", "--masterauth", "follows")
	if o.replica, err = redistest.Launch(filepath.Join(dir, "replica"), ports[1], follow...); err != nil {
		return err
	}
	conf := filepath.Join(dir, "sentinel", "sentinel.conf")
	text := fmt.Sprintf("bind 127.0.0.1\nsentinel monitor fleet 127.0.0.1 %d 1\nsentinel down-after-milliseconds fleet 1000\nsentinel failover-timeout fleet 10000\n", ports[0])
	if err := os.WriteFile(conf, []byte(text), 0o600); err != nil {
		return err
	}
	o.sentinel, err = redistest.LaunchSentinel(filepath.Join(dir, "sentinel"), ports[2], conf)
	return err
}

func (o *sentinelOutlet) env() []string {
	return append(o.redisOutlet.env(), "REDIS_URL=redis://"+o.sentinel.Addr+"?master_set=fleet")
}

// promote has the replica fall behind for a while, kills the master, and waits until the replica is in its place. It returns
// how many entries of the stream are gone by that.
func (o *sentinelOutlet) promote(ctx context.Context, behind time.Duration) (forgotten int, err error) {
	follows := func() bool {
		text, err := o.sentinel.TryCLI("sentinel", "replicas", "fleet")
		if err != nil || !strings.Contains(text, "master-link-status\nok") {
			return false
		}
		text, err = o.replica.TryCLI("info", "replication")
		return err == nil && strings.Contains(text, "master_link_status:up")
	}
	if err := until(ctx, "a replica", follows); err != nil {
		return 0, err
	}
	if _, err := o.server.TryCLI("acl", "setuser", "replica", "off"); err != nil {
		return 0, err
	}
	if _, err := o.server.TryCLI("client", "kill", "user", "replica"); err != nil {
		return 0, err
	}
	time.Sleep(behind)
	had, err := length(o.server)
	if err != nil {
		return 0, err
	}
	o.server.Kill()
	has, err := length(o.replica)
	if err != nil {
		return 0, err
	}
	_, port, _ := net.SplitHostPort(o.replica.Addr)
	err = until(ctx, "the promotion", func() bool {
		text, err := o.sentinel.TryCLI("sentinel", "get-master-addr-by-name", "fleet")
		return err == nil && strings.Contains(text, port)
	})
	return had - has, err
}

// length returns how many entries the stream of a server has.
func length(s *redistest.Server) (int, error) {
	text, err := s.TryCLI("xlen", "events")
	if err != nil {
		return 0, err
	}
	return strconv.Atoi(strings.TrimSpace(text))
}

// until waits.
func until(ctx context.Context, what string, holds func() bool) error {
	for end := time.Now().Add(patience); !holds(); {
		if time.Now().After(end) {
			return errors.New("waited in vain for " + what)
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(50 * time.Millisecond):
		}
	}
	return nil
}

func (o *sentinelOutlet) stop() {
	o.redisOutlet.stop()
	o.sentinel.Kill()
	o.replica.Kill()
}
