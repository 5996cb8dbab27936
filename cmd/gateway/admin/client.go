// This file is the client of a Server: what the subcommands of the program ask a running process with.

package admin

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"sluice/cmd/gateway/status"
)

// maxAnswer bounds what a client reads of an answer that has an end.
const maxAnswer = 64 << 20

// ClientOptions say which process a Client asks.
type ClientOptions struct {
	// Address is host:port or a URL, http:// or https://, perhaps with a path that a reverse proxy
	// has before its own. It is asked instead of Socket.
	Address string
	Token   string // http.token; for Address alone
	Socket  string // path of the unix socket
}

// Client asks a running process.
type Client struct {
	http  http.Client
	base  string
	token string
	where string
}

// NewClient returns a Client. It connects when it is asked to.
func NewClient(o ClientOptions) (*Client, error) {
	if o.Address == "" {
		c := &Client{base: "http://localhost", where: o.Socket}
		c.http.Transport = &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			if err := tooLong(o.Socket); err != nil {
				return nil, err
			}
			return new(net.Dialer).DialContext(ctx, "unix", o.Socket)
		}}
		return c.noRedirects(), nil
	}
	address := o.Address
	if strings.HasPrefix(address, ":") { // this machine, as http.address has it
		address = "localhost" + address
	}
	if !strings.Contains(address, "://") {
		address = "http://" + address
	}
	u, err := url.Parse(address)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Hostname() == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" {
		return nil, errors.New("the address is not host:port, or one such as https://gateway.example.com, without user and password")
	}
	if n, err := strconv.Atoi(u.Port()); u.Port() != "" && (err != nil || n < 1 || n > 65535) {
		return nil, fmt.Errorf("the port %s is not from 1 to 65535", u.Port())
	}
	c := &Client{base: strings.TrimSuffix(u.String(), "/"), token: o.Token, where: u.Host}
	// Without a proxy: what is asked is near, and the token for nobody on the way.
	c.http.Transport = &http.Transport{TLSHandshakeTimeout: 10 * time.Second, DialContext: (&net.Dialer{Timeout: 10 * time.Second}).DialContext}
	return c.noRedirects(), nil
}

// noRedirects keeps the token from going elsewhere.
func (c *Client) noRedirects() *Client {
	c.http.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	return c
}

// Close closes connections that are not in use.
func (c *Client) Close() { c.http.CloseIdleConnections() }

// ErrNobody is the error of a request where nobody listens.
var ErrNobody = errors.New("nobody answers")

// StatusError is an answer that is not 200.
type StatusError struct {
	Code int
	Text string // what the process says
}

func (e *StatusError) Error() string { return cmp.Or(e.Text, http.StatusText(e.Code)) }

// Get asks for a path, which may have a query. Whatever is not answered with 200 is an error; a
// *StatusError if there was an answer. The body is the caller's to close.
func (c *Client) Get(ctx context.Context, path string) (io.ReadCloser, error) {
	return c.do(ctx, http.MethodGet, path, nil)
}

// Status asks for the status, with the shards that q asks for.
func (c *Client) Status(ctx context.Context, q status.Query) (*status.Status, error) {
	body, err := c.Get(ctx, "/status?"+q.Values().Encode())
	if err != nil {
		return nil, err
	}
	defer body.Close()
	s := new(status.Status)
	if err := json.NewDecoder(io.LimitReader(body, maxAnswer)).Decode(s); err != nil {
		return nil, fmt.Errorf("%s: the answer is no status: %w", c.where, err)
	}
	return s, nil
}

// Health asks for /livez or /readyz, with each check, and returns what is said and whether all is well.
func (c *Client) Health(ctx context.Context, path string) (ok bool, text string, err error) {
	body, err := c.Get(ctx, path+"?verbose")
	if e := (*StatusError)(nil); errors.As(err, &e) && e.Code == http.StatusServiceUnavailable {
		return false, e.Text + "\n", nil
	}
	if err != nil {
		return false, "", err
	}
	defer body.Close()
	said, err := io.ReadAll(io.LimitReader(body, maxAnswer))
	return err == nil, string(said), err
}

// Reconnect is Actions.Reconnect of the process.
func (c *Client) Reconnect(ctx context.Context, shard int, how string) error {
	_, err := c.post(ctx, fmt.Sprintf("/shards/%d/%s", shard, how), nil)
	return err
}

// SetLogLevel is Actions.SetLogLevel of the process.
func (c *Client) SetLogLevel(ctx context.Context, level string) error {
	_, err := c.post(ctx, "/loglevel", map[string]string{"level": level})
	return err
}

// Reload is Actions.Reload of the process.
func (c *Client) Reload(ctx context.Context) (changes []string, err error) {
	return c.post(ctx, "/reload", nil)
}

// Drain is Fleet.Drain of the process.
func (c *Client) Drain(ctx context.Context) error {
	_, err := c.post(ctx, "/fleet/drain", nil)
	return err
}

// Rebalance is Fleet.Rebalance of the process.
func (c *Client) Rebalance(ctx context.Context) error {
	_, err := c.post(ctx, "/fleet/rebalance", nil)
	return err
}

// Reshard is Actions.Reshard of the process.
func (c *Client) Reshard(ctx context.Context, shards int, begin bool) (plan []string, err error) {
	return c.post(ctx, "/reshard", map[string]any{"shards": shards, "begin": begin})
}

// CallOff is Actions.CallOff of the process.
func (c *Client) CallOff(ctx context.Context) error {
	_, err := c.post(ctx, "/reshard/cancel", nil)
	return err
}

func (c *Client) post(ctx context.Context, path string, body any) (changes []string, err error) {
	var text []byte
	if body != nil {
		if text, err = json.Marshal(body); err != nil {
			return nil, err
		}
	}
	answer, err := c.do(ctx, http.MethodPost, path, text)
	if err != nil {
		return nil, err
	}
	defer answer.Close()
	var res result
	if err := json.NewDecoder(io.LimitReader(answer, maxAnswer)).Decode(&res); err != nil || !res.OK {
		return nil, fmt.Errorf("%s: the answer says neither that it was done nor why not", c.where)
	}
	return res.Changes, nil
}

func (c *Client) do(ctx context.Context, method, path string, body []byte) (io.ReadCloser, error) {
	r, err := http.NewRequestWithContext(ctx, method, c.base+path, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	if body != nil {
		r.Header.Set("Content-Type", "application/json")
	}
	if c.token != "" {
		r.Header.Set("Authorization", "Bearer "+c.token)
	}
	answer, err := c.http.Do(r)
	if err != nil {
		var u *url.Error
		if errors.As(err, &u) {
			err = u.Err // which says the same without what was asked
		}
		if errors.Is(err, fs.ErrNotExist) || errors.Is(err, errRefused) {
			return nil, fmt.Errorf("%w at %s: %w", ErrNobody, c.where, err)
		}
		return nil, fmt.Errorf("%s: %w", c.where, err)
	}
	if answer.StatusCode == http.StatusOK {
		return answer.Body, nil
	}
	defer answer.Body.Close()
	text, _ := io.ReadAll(io.LimitReader(answer.Body, 64<<10))
	said := &StatusError{Code: answer.StatusCode, Text: strings.TrimSpace(string(text))}
	var res result
	if json.Unmarshal(text, &res) == nil && res.Error != "" {
		said.Text = res.Error
	}
	if answer.StatusCode == http.StatusServiceUnavailable || answer.StatusCode == http.StatusConflict || answer.StatusCode == http.StatusGatewayTimeout {
		return nil, said // it is about what was asked
	}
	return nil, fmt.Errorf("%s answers %d: %w", c.where, answer.StatusCode, said)
}
