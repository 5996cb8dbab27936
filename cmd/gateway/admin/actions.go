// This file takes actions.

package admin

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"strconv"
	"strings"
)

// hows are what can be asked of a shard.
var hows = []string{"reconnect", "resume", "identify"}

// result is the answer to an action.
type result struct {
	OK      bool     `json:"ok"`
	Error   string   `json:"error,omitempty"`
	Changes []string `json:"changes,omitempty"` // of a reload; the plan of a reshard
}

// shardPath reads /shards/3/resume. The id is written in one way.
func shardPath(path string) (shard int, how string, ok bool) {
	parts := strings.Split(path, "/")
	if len(parts) != 4 || parts[0] != "" || parts[1] != "shards" {
		return 0, "", false
	}
	shard, err := strconv.Atoi(parts[2])
	if err != nil || strconv.Itoa(shard) != parts[2] || shard < 0 {
		return 0, "", false
	}
	for _, how := range hows {
		if parts[3] == how {
			return shard, how, true
		}
	}
	return 0, "", false
}

func (s *Server) reconnect(w http.ResponseWriter, r *http.Request, shard int, how string) {
	s.action(w, r, nil, func(ctx context.Context) (result, error) {
		return result{}, s.o.Actions.Reconnect(ctx, shard, how)
	})
}

func (s *Server) setLogLevel(w http.ResponseWriter, r *http.Request) {
	var body struct {
		Level string `json:"level"`
	}
	s.action(w, r, &body, func(context.Context) (result, error) {
		return result{}, s.o.Actions.SetLogLevel(body.Level)
	})
}

func (s *Server) reshard(w http.ResponseWriter, r *http.Request) {
	var body struct {
		Shards int  `json:"shards"`
		Begin  bool `json:"begin"`
	}
	s.action(w, r, &body, func(ctx context.Context) (result, error) {
		plan, err := s.o.Actions.Reshard(ctx, body.Shards, body.Begin)
		return result{Changes: plan}, err
	})
}

func (s *Server) callOff(w http.ResponseWriter, r *http.Request) {
	s.action(w, r, nil, func(ctx context.Context) (result, error) { return result{}, s.o.Actions.CallOff(ctx) })
}

func (s *Server) reload(w http.ResponseWriter, r *http.Request) {
	s.action(w, r, nil, func(ctx context.Context) (result, error) {
		changes, err := s.o.Actions.Reload(ctx)
		if err != nil && len(changes) > 0 { // what is wrong
			err = fmt.Errorf("%w: %s", err, strings.Join(changes, "; "))
		}
		return result{Changes: changes}, err
	})
}

// errNoFleet is the error of what only a member of a fleet can be asked for.
var errNoFleet = errors.New(`this process is in no fleet: shards.ids is not "auto"`)

// askFleet returns the handler of an action of a member.
func (s *Server) askFleet(take func(Fleet) error) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		s.action(w, r, nil, func(context.Context) (result, error) {
			if s.o.Fleet == nil {
				return result{}, errNoFleet
			}
			return result{}, take(s.o.Fleet)
		})
	}
}

// action reads the body, if there is to be one, and takes the action. It is not given up when its
// client is.
func (s *Server) action(w http.ResponseWriter, r *http.Request, body any, take func(context.Context) (result, error)) {
	if err := s.readBody(w, r, body); err != nil {
		w.Header().Set("Connection", "close")
		writeJSON(w, http.StatusBadRequest, result{Error: err.Error()})
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(r.Context()), s.limits.action)
	defer cancel()
	s.o.Log.Info("http: action", "path", r.URL.Path, "peer", r.RemoteAddr)
	res, err := take(ctx)
	switch {
	case errors.Is(err, context.DeadlineExceeded):
		writeJSON(w, http.StatusGatewayTimeout, result{Error: err.Error()})
	case err != nil:
		writeJSON(w, http.StatusConflict, result{Error: err.Error()})
	default:
		res.OK = true
		writeJSON(w, http.StatusOK, res)
	}
}

// readBody reads a request's JSON into body; nil: there is to be none.
func (s *Server) readBody(w http.ResponseWriter, r *http.Request, body any) error {
	switch kind, _, _ := mime.ParseMediaType(r.Header.Get("Content-Type")); {
	case body == nil && r.ContentLength == 0:
		return nil
	case body == nil:
		return errors.New("the action takes no body")
	case kind != "application/json":
		return errors.New("the body must be JSON, with Content-Type: application/json")
	}
	d := json.NewDecoder(http.MaxBytesReader(w, r.Body, s.limits.bodyBytes))
	d.DisallowUnknownFields()
	if err := d.Decode(body); err != nil {
		return fmt.Errorf("the body is not what the action takes: %w", err)
	}
	if _, err := d.Token(); err != io.EOF {
		return errors.New("there is something behind the body's object")
	}
	return nil
}

func writeJSON(w http.ResponseWriter, code int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(code)
	json.NewEncoder(w).Encode(v) // the client may have gone
}
