//go:build unix

// This file tests the sink with a Cluster and with a Sentinel, through a failover in
// the middle of a stream.

package redis

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"sluice/sinks/sinktest"
	"sluice/sinks/sinktest/redistest"
)

// startCluster returns the servers of a cluster: masters, and a replica of each.
func startCluster(t *testing.T, masters int) []*redistest.Server {
	var servers []*redistest.Server
	args := []string{"--cluster", "create"}
	for range 2 * masters {
		s := redistest.Start(t, "--cluster-enabled", "yes", "--cluster-node-timeout", "1000", "--repl-diskless-sync-delay", "0",
			"--cluster-port", fmt.Sprint(sinktest.FreePort(t)))
		servers = append(servers, s)
		args = append(args, s.Addr)
	}
	servers[0].CLI(append(args, "--cluster-replicas", "1", "--cluster-yes")...)
	for end := time.Now().Add(time.Minute); ; time.Sleep(50 * time.Millisecond) {
		ok := true
		for _, s := range servers {
			ok = ok && strings.Contains(s.CLI("CLUSTER", "INFO"), "cluster_state:ok")
			ok = ok && (strings.Contains(s.CLI("ROLE"), "master") || strings.Contains(s.CLI("ROLE"), "connected"))
		}
		if ok {
			return servers
		}
		if time.Now().After(end) {
			t.Fatalf("the cluster is not ready: %s", servers[0].CLI("CLUSTER", "INFO"))
		}
	}
}

// clusterEntries returns the data of a stream, wherever it lies.
func clusterEntries(t *testing.T, servers []*redistest.Server, stream string) []string {
	for _, s := range servers {
		if s.Running() {
			return entries(t, s.Addr, stream)
		}
	}
	t.Fatal("no server runs")
	return nil
}

// A cluster whose master is killed: a shard's events stay in order, and what is lost is what Redis
// reports as lost.
func TestCluster(t *testing.T) {
	t.Parallel()
	servers := startCluster(t, 3)
	addresses := make([]string, len(servers))
	for i, s := range servers {
		addresses[i] = s.Addr
	}
	h := start(t, Options{}, addresses...)
	types := []string{"A", "B", "C", "D", "E", "F", "{A}G"}
	killed := make(chan struct{})
	go func() {
		defer close(killed)
		// A master dies: its replica takes over, with what had been replicated.
		h.wait("a stream under way", func() bool { return h.count() > 5000 })
		for _, s := range servers {
			if strings.HasPrefix(s.CLI("ROLE"), "master") {
				// What it lost is known by the offsets that it has, and not if it has none.
				h.wait("replica with every key", func() bool { return replicaOf(servers, s).CLI("DBSIZE") == s.CLI("DBSIZE") })
				s.Kill()
				return
			}
		}
	}()
	for alive := true; alive; { // events are in flight when it dies
		h.publish(20, types...)
		select {
		case <-killed:
			alive = false
		case <-time.After(time.Millisecond):
		}
	}
	h.publish(20_000, types...)
	h.settled()
	total := 0
	for _, stream := range types {
		last, lost := 0, 0
		for _, d := range clusterEntries(t, servers, stream) {
			var v int
			if fmt.Sscan(d, &v); v <= last {
				t.Fatalf("%s: %q after %d", stream, d, last)
			}
			if last > 0 && v != last+len(types) {
				lost++
			}
			last = v
			total++
		}
		// Redis replicates behind its acknowledgements: what the dead master had
		// not sent on is lost, and told.
		if lost > 1 {
			t.Errorf("%s: %d holes", stream, lost)
		}
	}
	st := h.sink.Status()
	if int64(total) < int64(h.sent)-st.Undone || total > h.sent {
		t.Errorf("%d of %d entries, of which Redis lost %d by its own account", total, h.sent, st.Undone)
	}
	if st.Retried == 0 || len(h.aside) > 0 {
		t.Errorf("%+v, set aside: %q", st, h.aside)
	}
	t.Logf("%d entries of %d, %+v", total, h.sent, st)
}

// replicaOf returns the replica of a master.
func replicaOf(servers []*redistest.Server, master *redistest.Server) *redistest.Server {
	_, port, _ := net.SplitHostPort(master.Addr)
	i := slices.IndexFunc(servers, func(s *redistest.Server) bool {
		role := strings.Split(s.CLI("ROLE"), "\n")
		return role[0] == "slave" && role[2] == port
	})
	return servers[i]
}

// A failover by Sentinel loses and repeats nothing where replicas are waited for.
func TestSentinel(t *testing.T) {
	t.Parallel()
	master := redistest.Start(t, "--repl-diskless-sync-delay", "0")
	host, port, _ := net.SplitHostPort(master.Addr)
	replica := redistest.Start(t, "--replicaof", host+" "+port, "--repl-diskless-sync-delay", "0")
	conf := filepath.Join(t.TempDir(), "sentinel.conf")
	text := fmt.Sprintf("sentinel monitor events %s %s 1\nsentinel down-after-milliseconds events 1000\nsentinel failover-timeout events 5000\n", host, port)
	if err := os.WriteFile(conf, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	sentinel := redistest.StartSentinel(t, conf)
	for end := time.Now().Add(30 * time.Second); !strings.Contains(sentinel.CLI("SENTINEL", "REPLICAS", "events"), "ok"); time.Sleep(50 * time.Millisecond) {
		if strings.Contains(sentinel.CLI("INFO", "sentinel"), "slaves=1") && strings.Contains(replica.CLI("ROLE"), "connected") {
			break
		}
		if time.Now().After(end) {
			t.Fatalf("the sentinel knows no replica: %s", sentinel.CLI("INFO", "sentinel"))
		}
	}
	h := start(t, Options{Replicas: 1}, "redis://"+sentinel.Addr+"?master_set=events")
	h.publish(5000, "A", "B")
	h.settled()
	answer := "" // NOGOODSLAVE until the Sentinel has asked the replica, INPROG while it is at it
	defer func() {
		if t.Failed() {
			t.Logf("FAILOVER: %s; %s", answer, sentinel.CLI("SENTINEL", "REPLICAS", "events"))
		}
	}()
	h.wait("replica to take over", func() bool {
		h.publish(500, "A", "B")
		role, err := replica.TryCLI("ROLE") // one that takes over cuts its clients off
		if err == nil && strings.HasPrefix(role, "master") {
			return true
		}
		answer = sentinel.CLI("SENTINEL", "FAILOVER", "events")
		return false
	})
	h.publish(5000, "A", "B")
	h.settled()
	whole(t, replica.Addr, h.sent, "A", "B")
	if st := h.sink.Status(); st.Undone > 0 {
		t.Errorf("%+v", st)
	}
}
