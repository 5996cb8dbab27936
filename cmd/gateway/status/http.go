// This file answers over HTTP.

package status

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"strings"
)

// Livez answers 200 while this process makes progress, else 503. The body is "ok" or the checks that
// fail; with the parameter verbose all of them.
func (s *Source) Livez(w http.ResponseWriter, r *http.Request) {
	c := s.engineCheck()
	c.Of = Livez
	answer(w, r, []Check{c}, Livez)
}

// Readyz answers 200 while the shards of this process are ready or resuming and the broker is
// available, else 503, as Livez does. What is not live is not ready.
func (s *Source) Readyz(w http.ResponseWriter, r *http.Request) { answer(w, r, s.Checks(), Readyz) }

// answer answers with the checks of a kind.
func answer(w http.ResponseWriter, r *http.Request, checks []Check, of string) {
	_, verbose := r.URL.Query()["verbose"]
	h := w.Header()
	h.Set("Content-Type", "text/plain; charset=utf-8")
	h.Set("Cache-Control", "no-store")
	h.Set("X-Content-Type-Options", "nosniff")
	ok := holds(checks, of)
	if !ok {
		w.WriteHeader(http.StatusServiceUnavailable)
	}
	if ok && !verbose {
		fmt.Fprintln(w, "ok")
		return
	}
	var b strings.Builder
	for _, c := range checks {
		if c.Of == of && (verbose || !c.OK) {
			fmt.Fprintln(&b, c)
		}
	}
	fmt.Fprint(w, b.String())
}

// String returns the check as a line, as Kubernetes' own components print theirs.
func (c Check) String() string {
	sign := "+"
	if !c.OK {
		sign = "-"
	}
	return fmt.Sprintf("[%s] %s: %s", sign, c.Name, c.Text)
}

// ServeStatus answers with the document.
func (s *Source) ServeStatus(w http.ResponseWriter, _ *http.Request) {
	body, err := json.Marshal(s.Status())
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	h := w.Header()
	h.Set("Content-Type", "application/json")
	h.Set("Content-Length", strconv.Itoa(len(body)+1))
	h.Set("Cache-Control", "no-store")
	h.Set("X-Content-Type-Options", "nosniff")
	w.Write(body)
	w.Write([]byte("\n"))
}
