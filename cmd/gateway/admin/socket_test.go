// This file tests the unix socket and the client.

package admin

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"reflect"
	"runtime"
	"sluice/cmd/gateway/status"
	"strings"
	"testing"
	"time"
)

// client returns a client that is closed with the test.
func client(t *testing.T, o ClientOptions) *Client {
	t.Helper()
	c, err := NewClient(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

// reached waits until somebody answers at the socket.
func reached(t *testing.T, c *Client) {
	t.Helper()
	await(t, "the socket answers", func() bool {
		_, _, err := c.Health(t.Context(), "/livez")
		return err == nil
	})
}

// shortDir is a directory whose path leaves room for that of a socket.
func shortDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "s")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

// Whoever may connect to the socket may do everything, without the token; nobody else connects.
func TestSocket(t *testing.T) {
	a, dir := new(asked), shortDir(t)
	o := parts(a)
	o.Token, o.Socket = always(token), filepath.Join(dir, SocketName)
	s := start(t, o)
	c := client(t, ClientOptions{Socket: o.Socket})
	reached(t, c)
	if info, err := os.Lstat(o.Socket); err != nil || runtime.GOOS != "windows" && info.Mode() != fs.ModeSocket|0o600 {
		t.Errorf("%v, %v", info.Mode(), err)
	}
	if doc, err := c.Status(t.Context(), status.Query{}); err != nil || doc.Version != 1 {
		t.Errorf("%+v, %v", doc, err)
	}
	if err := c.Reconnect(t.Context(), 3, "resume"); err != nil {
		t.Error(err)
	}
	if err := c.SetLogLevel(t.Context(), "debug"); err != nil {
		t.Error(err)
	}
	changes, err := c.Reload(t.Context())
	if want := []string{"log.level: info, now debug"}; err != nil || !reflect.DeepEqual(changes, want) {
		t.Errorf("%q, %v", changes, err)
	}
	if err := c.Drain(t.Context()); err != nil {
		t.Error(err)
	}
	if err := c.Rebalance(t.Context()); err == nil || err.Error() != "this member drains" {
		t.Errorf("%v", err)
	}
	if want := []string{"resume 3", "loglevel debug", "reload", "drain", "rebalance"}; !reflect.DeepEqual(a.take(), want) {
		t.Errorf("not %q", want)
	}
	if err := c.Reconnect(t.Context(), 404, "identify"); err == nil || err.Error() != "shard 404 is not run by this process" {
		t.Errorf("%v", err)
	}
	s.o.Fleet = nil
	if err := c.Drain(t.Context()); err == nil || err.Error() != `this process is in no fleet: shards.ids is not "auto"` {
		t.Errorf("%v", err)
	}
	s.Drain()
	if ok, text, err := c.Health(t.Context(), "/readyz"); ok || err != nil || text != "failed shutdown: the process shuts down\nok shards: all are ready\nreadyz: failed\n" && !strings.Contains(text, "failed shutdown") {
		t.Errorf("%v %q %v", ok, text, err)
	}
	s.Close()
	if _, err := os.Lstat(o.Socket); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the socket is left: %v", err)
	}
	if _, err := c.Status(t.Context(), status.Query{}); err == nil || !strings.HasPrefix(err.Error(), "nobody answers at "+o.Socket) {
		t.Errorf("%v", err)
	}
	if left, _ := filepath.Glob(filepath.Join(dir, "*")); len(left) != 1 { // the lock
		t.Errorf("left: %q", left)
	}
}

// A socket that a killed process has left is replaced, and what it was making. One of a process
// that runs is not: the next waits, and has it as soon as the other has ended.
func TestSocketOfAnother(t *testing.T) {
	dir := shortDir(t)
	path := filepath.Join(dir, SocketName)
	left, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	left.SetUnlinkOnClose(false)
	left.Close()
	if err := os.MkdirAll(filepath.Join(dir, newName, "s"), 0o700); err != nil {
		t.Fatal(err)
	}
	c := client(t, ClientOptions{Socket: path})
	if _, err := c.Status(t.Context(), status.Query{}); err == nil || !strings.HasPrefix(err.Error(), "nobody answers at ") {
		t.Errorf("%v", err)
	}
	var out lockedBuffer
	run := func() (*Server, *asked) {
		a := new(asked)
		o := parts(a)
		o.Socket, o.Log = path, slog.New(slog.NewTextHandler(&out, nil))
		return start(t, o), a
	}
	first, a := run()
	reached(t, c)
	second, b := run()
	await(t, "the second waits", func() bool { return strings.Contains(out.String(), "another process has the control socket") })
	if _, err := c.Reload(t.Context()); err != nil || len(a.take()) != 1 {
		t.Errorf("it is not the first that answers: %v", err)
	}
	first.Close()
	reached(t, c)
	if _, err := c.Reload(t.Context()); err != nil || len(b.take()) != 1 {
		t.Errorf("it is not the second that answers: %v", err)
	}
	third, _ := run()
	third.Close() // one that waits can end
	if _, _, err := c.Health(t.Context(), "/livez"); err != nil {
		t.Errorf("it has taken the socket of the second: %v", err)
	}
	second.Close()
}

// Where no socket can be made there is a line in the log that says why, and what is there is left alone.
func TestNoSocket(t *testing.T) {
	for name, tc := range map[string]struct {
		prepare func(dir string) error
		path    string
		want    string
	}{
		"long path":    {nil, strings.Repeat("a", 100), "bytes, and a unix socket 103 at most: shorten shard_store.directory"},
		"no directory": {nil, "none", "no such file"},
		"a file":       {func(dir string) error { return os.WriteFile(filepath.Join(dir, SocketName), []byte("mine"), 0o600) }, "", "is not a socket"},
		"a link": {func(dir string) error {
			elsewhere := filepath.Join(dir, "elsewhere")
			if runtime.GOOS == "windows" { // where links are not for everybody
				return os.WriteFile(filepath.Join(dir, SocketName), []byte("mine"), 0o600)
			}
			return errors.Join(os.WriteFile(elsewhere, []byte("mine"), 0o600), os.Symlink(elsewhere, filepath.Join(dir, SocketName)))
		}, "", "is not a socket"},
		"lock": {func(dir string) error { return os.Mkdir(filepath.Join(dir, lockName), 0o700) }, "", "is not a regular file: remove it"},
	} {
		t.Run(name, func(t *testing.T) {
			var out lockedBuffer
			dir := shortDir(t)
			if tc.prepare != nil {
				if err := tc.prepare(dir); err != nil {
					t.Fatal(err)
				}
			}
			dir = filepath.Join(dir, tc.path)
			if name == "long path" {
				if err := os.Mkdir(dir, 0o700); err != nil {
					t.Fatal(err)
				}
			}
			o := parts(new(asked))
			o.Address, o.Socket, o.Log = "127.0.0.1:0", filepath.Join(dir, SocketName), slog.New(slog.NewTextHandler(&out, nil))
			s := start(t, o)
			await(t, "a line", func() bool { return strings.Contains(out.String(), "control socket is not there") })
			if !strings.Contains(out.String(), tc.want) {
				t.Errorf("%s", out.String())
			}
			if answer, _ := s.raw(t, "http.address", request("GET /metrics")); answer.StatusCode != 200 {
				t.Errorf("%d", answer.StatusCode)
			}
			s.Close()
			if text, err := os.ReadFile(filepath.Join(dir, SocketName)); (name == "a file" || name == "a link") && (err != nil || string(text) != "mine") {
				t.Errorf("%q, %v", text, err)
			}
		})
	}
}

// A client over TCP shows the token, and says what is wrong in a line.
func TestClientTCP(t *testing.T) {
	a := new(asked)
	o := parts(a)
	o.Address, o.Token = "0.0.0.0:0", always(token)
	s := start(t, o)
	_, port, _ := net.SplitHostPort(s.Addr("http.address").String())
	for _, address := range []string{"127.0.0.1:" + port, "http://127.0.0.1:" + port, "http://localhost:" + port + "/"} {
		c := client(t, ClientOptions{Address: address, Token: token, Socket: "/nowhere"})
		if _, err := c.Status(t.Context(), status.Query{}); err != nil {
			t.Error(err)
		}
		if err := c.SetLogLevel(t.Context(), "loud"); err == nil || err.Error() != `"loud" is none of debug` {
			t.Errorf("%v", err)
		}
	}
	where := "127.0.0.1:" + port
	for _, tc := range []struct{ address, token, want string }{
		{where, "", where + " answers 401: http.token is needed, as a Bearer token or as the password of Basic"},
		{where, "wrong", where + " answers 401: the token is not http.token"},
		{"127.0.0.1:1", token, "nobody answers at 127.0.0.1:1: "},
	} {
		_, err := client(t, ClientOptions{Address: tc.address, Token: tc.token}).Reload(t.Context())
		if err == nil || !strings.HasPrefix(err.Error(), tc.want) {
			t.Errorf("%v, want %s", err, tc.want)
		}
	}
	for _, address := range []string{"ftp://127.0.0.1", "http://user:secret@127.0.0.1", "http://", "a b", "http://h/?x"} {
		if _, err := NewClient(ClientOptions{Address: address}); err == nil || strings.Contains(err.Error(), "secret") {
			t.Errorf("%s: %v", address, err)
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
	defer cancel()
	<-ctx.Done()
	if _, err := client(t, ClientOptions{Address: where}).Status(ctx, status.Query{}); err == nil || strings.Contains(fmt.Sprint(err), "Get \"") {
		t.Errorf("%v", err)
	}
}
