//go:build !windows

package admin

import (
	"net"
	"os"
	"path/filepath"
)

// listenPrivately listens at a path that nobody else can connect to at any moment: the socket is made
// in a directory of this user's alone, and gets its name when it has its mode. The process's
// umask, which is that of all goroutines, is left alone.
func listenPrivately(path string) (net.Listener, error) {
	dir := filepath.Join(filepath.Dir(path), newName)
	if err := os.RemoveAll(dir); err != nil { // of a process that was killed
		return nil, err
	}
	if err := os.Mkdir(dir, 0o700); err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	made := filepath.Join(dir, "s")
	l, err := listenUnix(made)
	if err != nil {
		return nil, err
	}
	if err = os.Chmod(made, 0o600); err == nil {
		err = os.Rename(made, path)
	}
	if err != nil {
		l.Close()
		return nil, err
	}
	return l, nil
}
