// This file says that there is a poller on Linux alone.

//go:build !linux

package engine

import "errors"

func newPoller() (poller, error) {
	return nil, errors.New("engine: the epoll reader is for Linux")
}
