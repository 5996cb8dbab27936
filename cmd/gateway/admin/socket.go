// This file makes the unix socket by which the subcommands of the program reach a running process.

package admin

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"time"

	"github.com/gofrs/flock"
)

const (
	// SocketName is the socket's file in the state directory.
	SocketName = "control.sock"

	// lockName is the file whose lock says whose the socket is. A process that has ended, however
	// it did, has no lock: what it left is removed by the next.
	lockName = "control.lock"

	// newName is a directory of nobody else's in which the socket is until its mode is right.
	newName = "control.new"

	// maxPath is the longest path of a socket: macOS has 104 bytes for it, with a zero at its end.
	maxPath = 103

	// lockEvery is how often a process tries that waits for another one to end.
	lockEvery = 200 * time.Millisecond
)

// socket is one that this process has made.
type socket struct {
	path string
	lock *flock.Flock
}

// listenSocket makes the socket and serves it. If another process has it, as one that is about to
// end and be replaced by this, it waits.
func (s *Server) listenSocket(ctx context.Context, path string) {
	note := func(err error) {
		s.o.Log.Info("the control socket is not there: gateway status and the like do not reach this process", "socket", path, "error", err)
	}
	lock, err := lockSocket(ctx, path, func() {
		s.o.Log.Info("another process has the control socket: this one waits for it", "socket", path)
	})
	if lock == nil {
		if ctx.Err() == nil {
			note(err)
		}
		return
	}
	l, err := bind(path)
	if err != nil {
		note(err)
		lock.Close()
		return
	}
	sock := &socket{path, lock}
	if !s.serve(l, &entry{s: s, endpoint: "/metrics", socket: true}, sock) {
		sock.remove()
		sock.unlock()
	}
}

// lockSocket returns the lock of the socket's directory once this process has it.
func lockSocket(ctx context.Context, path string, waits func()) (*flock.Flock, error) {
	name := filepath.Join(filepath.Dir(path), lockName)
	if info, err := os.Lstat(name); err == nil && !info.Mode().IsRegular() { // a pipe would be waited for
		return nil, fmt.Errorf("%s is not a regular file: remove it", name)
	}
	lock := flock.New(name, flock.SetPermissions(0o600))
	locked, err := lock.TryLock()
	if err == nil && !locked {
		waits()
		locked, err = lock.TryLockContext(ctx, lockEvery)
	}
	if !locked {
		lock.Close()
		return nil, err
	}
	return lock, nil
}

// bind makes the socket in the place of one that a process has left.
func bind(path string) (net.Listener, error) {
	info, err := os.Lstat(path)
	switch {
	case err == nil && info.Mode().Type() != fs.ModeSocket:
		return nil, fmt.Errorf("%s is not a socket, but %v: remove it", path, info.Mode())
	case err != nil && !errors.Is(err, fs.ErrNotExist):
		return nil, err
	}
	return listenPrivately(path)
}

func tooLong(path string) error {
	if len(path) <= maxPath {
		return nil
	}
	return fmt.Errorf("the path %s has %d bytes, and a unix socket %d at most: shorten shard_store.directory", path, len(path), maxPath)
}

// listenUnix listens at a path whose file is removed by nobody but socket.remove.
func listenUnix(path string) (*net.UnixListener, error) {
	if err := tooLong(path); err != nil {
		return nil, err
	}
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err == nil {
		l.SetUnlinkOnClose(false)
	}
	return l, err
}

func (s *socket) remove() { os.Remove(s.path) }

func (s *socket) unlock() error { return s.lock.Close() }
