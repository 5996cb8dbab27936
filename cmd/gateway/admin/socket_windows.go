package admin

import (
	"errors"
	"io/fs"
	"net"
	"os"
)

// listenPrivately listens at a path. Who may connect is said by the directory's access control list.
func listenPrivately(path string) (net.Listener, error) {
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	return listenUnix(path)
}
