// Package page is the page at / of a running gateway: its state for people who would rather look
// than read, live by server-sent events.
//
// One goroutine, that of Run, collects for all viewers: once a second while there are any. A
// viewer has no queue: it is woken, and takes the newest picture, or what has changed if
// it has the one before. A slow viewer skips pictures, and costs what it reads.
package page

import (
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"io/fs"
	"net/http"
	"path"
	"sync"
	"time"

	"sluice/cmd/gateway/status"
)

// Options say what the page shows.
type Options struct {
	// Summary returns the document without the list of shards and the settings; nil: there is none yet.
	Summary func() *status.Status
	// Shards returns the shards that run, ascending by id. The page keeps the slice for
	// a few seconds and does not change it. It is called only while somebody watches.
	Shards func() []status.Shard
	// Logs has the last log lines; nil: the page shows none.
	Logs *Logs
	// Period is how often viewers get news; the history has a sample for each five. Default 1 s.
	Period time.Duration
}

// Page is the http.Handler of / and of what is below /page/.
type Page struct {
	options Options
	mux     *http.ServeMux
	wake    chan struct{} // somebody watches and there is no picture
	stopped chan struct{} // closed when Run has returned

	history history // of Run's goroutine, but for what mu guards in it

	mu      sync.Mutex
	viewers map[*viewer]struct{}
	picture picture
}

//go:embed assets
var assets embed.FS

// New returns the page. It shows nothing before Run.
func New(o Options) *Page {
	if o.Period <= 0 {
		o.Period = time.Second
	}
	p := &Page{
		options: o,
		mux:     http.NewServeMux(),
		wake:    make(chan struct{}, 1),
		stopped: make(chan struct{}),
		viewers: make(map[*viewer]struct{}),
	}
	p.mux.HandleFunc("GET /{$}", serveAsset("index.html"))
	files, err := fs.ReadDir(assets, "assets")
	if err != nil {
		panic(err) // they are part of the binary
	}
	for _, f := range files {
		if f.Name() != "index.html" {
			p.mux.HandleFunc("GET /page/"+f.Name(), serveAsset(f.Name()))
		}
	}
	p.mux.HandleFunc("GET /page/stream", p.serveStream)
	p.mux.HandleFunc("GET /page/shards/{id}", p.serveShard)
	return p
}

// ServeHTTP serves the page. Who may see it, and how many at a time, is decided by its caller.
func (p *Page) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	h.Set("Content-Security-Policy", "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "+
		"connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Referrer-Policy", "no-referrer")
	p.mux.ServeHTTP(w, r)
}

// contentTypes are those of the assets: the system's own table may say something else.
var contentTypes = map[string]string{
	".html": "text/html; charset=utf-8",
	".css":  "text/css; charset=utf-8",
	".js":   "text/javascript; charset=utf-8",
	".svg":  "image/svg+xml",
}

// serveAsset returns the handler of an embedded file. A browser asks each time whether it has changed:
// the page after an upgrade is not to be made of two versions.
func serveAsset(name string) http.HandlerFunc {
	content, err := assets.ReadFile("assets/" + name)
	if err != nil {
		panic(err)
	}
	tag := `"` + fingerprint(content) + `"`
	kind := contentTypes[path.Ext(name)]
	return func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Cache-Control", "no-cache")
		h.Set("ETag", tag)
		if r.Header.Get("If-None-Match") == tag {
			w.WriteHeader(http.StatusNotModified)
			return
		}
		h.Set("Content-Type", kind)
		w.Write(content)
	}
}

func fingerprint(content []byte) string {
	sum := sha256.Sum256(content)
	return hex.EncodeToString(sum[:8])
}

// release tells the assets of one build from those of another.
var release = sync.OnceValue(func() string {
	var all []byte
	files, _ := fs.ReadDir(assets, "assets")
	for _, f := range files {
		content, _ := assets.ReadFile("assets/" + f.Name())
		all = append(all, content...)
	}
	return fingerprint(all)
})
