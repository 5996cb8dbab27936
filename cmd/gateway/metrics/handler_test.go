package metrics

import (
	"compress/gzip"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

// get asks for the metrics as a client that decompresses nothing by itself.
func get(t *testing.T, url, method, encoding string) (*http.Response, string) {
	t.Helper()
	req, err := http.NewRequest(method, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	if encoding != "" {
		req.Header.Set("Accept-Encoding", encoding)
	}
	c := http.Client{Transport: &http.Transport{DisableCompression: true, DisableKeepAlives: true}}
	resp, err := c.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp, string(body)
}

func TestHandler(t *testing.T) {
	src, _ := fullSource(3)
	srv := httptest.NewServer(New(src))
	defer srv.Close()
	resp, text := get(t, srv.URL, "GET", "")
	if resp.StatusCode != 200 || resp.Header.Get("Content-Type") != "text/plain; version=0.0.4; charset=utf-8" || resp.Header.Get("Content-Encoding") != "" {
		t.Errorf("%s, %v", resp.Status, resp.Header)
	}
	count := len(parse(t, text))
	for encoding, compressed := range map[string]bool{"gzip": true, "deflate, GZIP;q=0.5": true, "gzip;q=0": false, "br": false, "gzip;q=x": false} {
		resp, text := get(t, srv.URL, "GET", encoding)
		if got := resp.Header.Get("Content-Encoding") == "gzip"; got != compressed {
			t.Errorf("Accept-Encoding %q: compressed %v", encoding, got)
			continue
		}
		if compressed {
			r, err := gzip.NewReader(strings.NewReader(text))
			if err != nil {
				t.Fatal(err)
			}
			plain, err := io.ReadAll(r)
			if err != nil {
				t.Fatal(err)
			}
			text = string(plain)
		}
		if n := len(parse(t, text)); n != count {
			t.Errorf("Accept-Encoding %q: %d families, want %d", encoding, n, count)
		}
	}
	for _, encoding := range []string{"", "gzip"} {
		if resp, text := get(t, srv.URL, "HEAD", encoding); resp.StatusCode != 200 || text != "" {
			t.Errorf("HEAD: %s, %d bytes", resp.Status, len(text))
		}
	}
	if resp, _ := get(t, srv.URL, "POST", ""); resp.StatusCode != 405 || resp.Header.Get("Allow") != "GET, HEAD" {
		t.Errorf("POST: %s", resp.Status)
	}
}

// Clients that ask and do not read have all the turns there are, and not for ever; nothing else waits for them.
func TestSlowScrapers(t *testing.T) {
	src, _ := fullSource(10000) // more than fits into the buffers of sockets
	slow := func(timeout time.Duration) (*Handler, string) {
		h := New(src)
		h.timeout = timeout
		srv := httptest.NewServer(h)
		t.Cleanup(srv.Close)
		for range maxScrapes {
			conn, err := net.Dial("tcp", srv.Listener.Addr().String())
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { conn.Close() })
			conn.(*net.TCPConn).SetReadBuffer(4096)
			fmt.Fprintf(conn, "GET / HTTP/1.1\r\nHost: x\r\n\r\n")
			if _, err := conn.Read(make([]byte, 16)); err != nil { // it has its turn
				t.Fatal(err)
			}
		}
		return h, srv.URL
	}
	h, url := slow(time.Hour)
	if resp, text := get(t, url, "GET", ""); resp.StatusCode != 503 || !strings.Contains(text, "4 are answered") {
		t.Errorf("with %d slow scrapers: %s, %.100q", maxScrapes, resp.Status, text)
	}
	h.Append(nil)                  // it waits for no scraper
	h, url = slow(5 * time.Second) // enough for one who reads, on a busy machine
	for end := time.Now().Add(2 * time.Minute); len(h.slots) > 0; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("the slow scrapers keep their turns")
		}
	}
	if resp, _ := get(t, url, "GET", "gzip"); resp.StatusCode != 200 {
		t.Errorf("after slow scrapers: %s", resp.Status)
	}
}
