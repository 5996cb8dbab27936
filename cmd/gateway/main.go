// Command gateway connects a bot's shards to Discord and hands every event to a
// broker. `gateway help` says how it is used.
package main

import (
	"os"

	"sluice/cmd/gateway/cli"
)

func main() {
	os.Exit(cli.Main(os.Args[1:], os.Environ(), os.Stdout, os.Stderr))
}
