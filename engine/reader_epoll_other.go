// This file stands in for the epoll reader where there is no epoll.

//go:build !linux

package engine

import (
	"context"
	"errors"
	"net"
)

func newEpollReader(context.Context, func(func(net.Conn) net.Conn) dialFunc, int) (reader, error) {
	return nil, errors.New("engine: the epoll reader is for Linux")
}
