// This file reports to the service manager.

package cli

import (
	"log/slog"
	"net"
	"os"
)

// What a service manager is notified of; see sd_notify(3).
const (
	notifyReady    = "READY=1"
	notifyStopping = "STOPPING=1"
)

// notify sends the state to the socket that systemd has named, if it has.
func notify(state string, log *slog.Logger) {
	name := os.Getenv("NOTIFY_SOCKET")
	if name == "" {
		return
	}
	conn, err := net.Dial("unixgram", name) // with an @ before it: an abstract one
	if err == nil {
		_, err = conn.Write([]byte(state))
		conn.Close()
	}
	if err != nil {
		log.Warn("the service manager is not notified", "state", state, "error", err)
	}
}
