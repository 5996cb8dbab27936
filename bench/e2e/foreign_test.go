// This file runs clients that others wrote, unmodified, against the simulated
// Discord: what they accept is right, as far as they know. Not under the race
// detector, which finds races in them (disgo's Close against its own reader).

//go:build !race

package e2e

import (
	"bytes"
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"log/slog"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/bwmarrin/discordgo"
	"github.com/disgoorg/disgo"
	"github.com/disgoorg/disgo/bot"
	"github.com/disgoorg/disgo/events"
	"github.com/disgoorg/disgo/gateway"
	"github.com/disgoorg/disgo/rest"
	"github.com/gorilla/websocket"

	"sluice/bench/sim"
)

// foreignToken is one that disgo can take the bot's id from.
var foreignToken = base64.RawStdEncoding.EncodeToString([]byte("795240038400004096")) + ".x.y"

// foreignServer starts a simulated Discord with TLS and live traffic.
func foreignServer(t *testing.T) (*sim.Server, *tls.Config) {
	t.Helper()
	srv, err := sim.New(sim.Options{TLS: true, Token: foreignToken, Guilds: 20, Rate: 100, ReplayLimit: 100_000, Seed: 1})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { srv.Close() })
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(srv.CertPEM())
	return srv, &tls.Config{RootCAs: roots}
}

// foreignSurvives cuts the client's connection and sends it op 7, and expects
// it to resume both times. received counts the client's events.
func foreignSurvives(t *testing.T, srv *sim.Server, received func() int64) {
	t.Helper()
	waitFor(t, "event", func() bool { return received() > 100 })
	faults := []struct {
		name string
		do   func()
	}{
		{"cut", func() { srv.Cut(0, true) }},
		{"op 7", func() { srv.Reconnect(0) }},
	}
	for i, fault := range faults {
		fault.do()
		waitFor(t, "resume after a "+fault.name, func() bool { return srv.Ledger().Summary().Resumed == i+1 })
		before := received()
		waitFor(t, "event after a "+fault.name, func() bool { return received() > before+100 })
	}
	if s := srv.Ledger().Summary(); s.Identifies != 1 || s.Resumed != 2 {
		t.Errorf("wanted one identify and two resumes: %v", s)
	}
}

// noKeepAlive is a transport that leaves no idle connection behind.
func noKeepAlive(config *tls.Config) *http.Transport {
	return &http.Transport{TLSClientConfig: config, DisableKeepAlives: true}
}

func TestForeignDiscordgo(t *testing.T) {
	srv, config := foreignServer(t)
	// discordgo has its addresses in package variables.
	for variable, value := range map[*string]string{
		&discordgo.EndpointGateway:    srv.APIURL() + "/gateway",
		&discordgo.EndpointGatewayBot: srv.APIURL() + "/gateway/bot",
	} {
		before := *variable
		*variable = value
		defer func() { *variable = before }()
	}
	s, err := discordgo.New("Bot " + foreignToken)
	if err != nil {
		t.Fatal(err)
	}
	s.Client = &http.Client{Transport: noKeepAlive(config)}
	s.Dialer = &websocket.Dialer{TLSClientConfig: config}
	s.Identify.Intents = discordgo.IntentsAll
	var received, resumed atomic.Int64
	s.AddHandler(func(*discordgo.Session, *discordgo.Event) { received.Add(1) })
	s.AddHandler(func(*discordgo.Session, *discordgo.Resumed) { resumed.Add(1) })
	if err := s.Open(); err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	foreignSurvives(t, srv, received.Load)
	waitFor(t, "RESUMED events", func() bool { return resumed.Load() == 2 })
}

func TestForeignDisgo(t *testing.T) {
	for _, compress := range []gateway.CompressionType{
		gateway.CompressionZstdStream, gateway.CompressionZlibStream, gateway.CompressionZlibPayload, gateway.CompressionNone,
	} {
		t.Run(cmp.Or(string(compress), "none"), func(t *testing.T) {
			t.Parallel()
			srv, config := foreignServer(t)
			var received atomic.Int64
			client, err := disgo.New(foreignToken,
				bot.WithLogger(slog.New(slog.DiscardHandler)),
				bot.WithRestClientConfigOpts(rest.WithURL(srv.APIURL()), rest.WithHTTPClient(&http.Client{Transport: noKeepAlive(config)})),
				bot.WithGatewayConfigOpts(
					gateway.WithIntents(gateway.IntentsAll),
					gateway.WithDialer(&websocket.Dialer{TLSClientConfig: config}),
					gateway.WithCompression(compress),
				),
				bot.WithEventListenerFunc(func(*events.GuildMessageCreate) { received.Add(1) }),
			)
			if err != nil {
				t.Fatal(err)
			}
			defer client.Close(context.Background())
			if err := client.OpenGateway(t.Context()); err != nil {
				t.Fatal(err)
			}
			foreignSurvives(t, srv, received.Load)
			want := ""
			if strings.HasSuffix(string(compress), "-stream") {
				want = string(compress)
			}
			if got := srv.Ledger().Connects()[0].Compress; got != want {
				t.Errorf("connected with compress=%q", got)
			}
		})
	}
}

func TestForeignDiscordJS(t *testing.T) {
	modules := installDiscordJS(t)
	for _, compress := range []string{"zlib-stream", "zstd-stream", "none"} {
		t.Run(compress, func(t *testing.T) {
			t.Parallel()
			if compress == "zstd-stream" {
				const probe = "process.exit(typeof require('zlib').createZstdDecompress === 'function' ? 0 : 1)"
				if exec.CommandContext(t.Context(), "node", "-e", probe).Run() != nil {
					t.Skip("this node has no zstd; 22.15 and later do")
				}
			}
			srv, _ := foreignServer(t)
			ca := filepath.Join(t.TempDir(), "ca.pem")
			if err := os.WriteFile(ca, srv.CertPEM(), 0o600); err != nil {
				t.Fatal(err)
			}
			cmd := exec.CommandContext(t.Context(), "node", "bot.mjs", srv.APIURL(), foreignToken, compress)
			cmd.Dir = modules
			cmd.Env = append(os.Environ(), "NODE_EXTRA_CA_CERTS="+ca)
			out := new(lineCounter)
			var stderr bytes.Buffer
			cmd.Stdout, cmd.Stderr = out, &stderr
			stdin, err := cmd.StdinPipe()
			if err != nil {
				t.Fatal(err)
			}
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			foreignSurvives(t, srv, out.lines)
			stdin.Close() // the bot ends with its input
			if err := cmd.Wait(); err != nil || stderr.Len() > 0 {
				t.Errorf("node: %v\n%s", err, &stderr)
			}
			if got := srv.Ledger().Connects()[0].Compress; got != strings.TrimPrefix(compress, "none") {
				t.Errorf("connected with compress=%q", got)
			}
		})
	}
}

// installDiscordJS returns a folder with the bot and what it needs from npm.
func installDiscordJS(t *testing.T) string {
	t.Helper()
	for _, name := range []string{"node", "npm"} {
		if _, err := exec.LookPath(name); err != nil {
			t.Skipf("@discordjs/ws needs %s, which is not here", name)
		}
	}
	dir := t.TempDir()
	if err := os.CopyFS(dir, os.DirFS("discordjs")); err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), "npm", "ci", "--no-audit", "--no-fund", "--ignore-scripts")
	cmd.Dir = dir
	if out, err := cmd.CombinedOutput(); err != nil {
		var exit *exec.ExitError
		if !errors.As(err, &exit) {
			t.Fatal(err)
		}
		t.Skipf("@discordjs/ws cannot be had from npm here: %v\n%s", err, out)
	}
	return dir
}

// lineCounter counts the lines written to it.
type lineCounter struct {
	mu sync.Mutex
	n  int64
}

func (c *lineCounter) Write(p []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.n += int64(bytes.Count(p, []byte("\n")))
	return len(p), nil
}

func (c *lineCounter) lines() int64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.n
}
