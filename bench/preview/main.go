// Command preview shows the gateway's page with a made-up gateway, for who works on it:
//
//	go run ./bench/preview -shards 1000
package main

import (
	"context"
	"flag"
	"fmt"
	"log"
	"log/slog"
	"net"
	"net/http"
	"time"

	"sluice/cmd/gateway/page"
	"sluice/cmd/gateway/page/pagetest"
)

func main() {
	listen := flag.String("listen", "127.0.0.1:0", "the address of the page")
	shards := flag.Int("shards", 1000, "how many shards there are")
	fast := flag.Float64("fast", 1, "how many times faster than a clock the time passes")
	starting := flag.Int("starting", -1, "so many shards are ready, the others wait for their turn; -1: all are ready")
	outage := flag.Duration("outage", 0, "the broker is unavailable for a tenth of this time, again and again; 0: never")
	flag.Parse()

	logs := new(page.Logs)
	at := time.Now()
	source := pagetest.New(*shards, 1, at, slog.NewJSONHandler(logs, nil))
	source.Cuts(float64(*shards) / 5000)
	if *starting >= 0 {
		source.Starting(*starting)
	}
	step := func() {
		at = at.Add(time.Second)
		if *outage > 0 {
			reason := ""
			if at.UnixNano()%outage.Nanoseconds() < outage.Nanoseconds()/10 {
				reason = "dial tcp 10.0.3.7:6379: connect: connection refused"
			}
			source.Broker(reason)
		}
		source.Step(time.Second)
	}
	period := time.Duration(float64(time.Second) / *fast)
	p := page.New(page.Options{Summary: source.Summary, Shards: source.Shards, Logs: logs, Period: period})
	go p.Run(context.Background())
	go func() {
		for range time.Tick(period) {
			step()
		}
	}()
	l, err := net.Listen("tcp", *listen)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Printf("http://%s/\n", l.Addr())
	log.Fatal(http.Serve(l, p))
}
