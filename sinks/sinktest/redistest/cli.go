//go:build unix

// This file asks a server as redis-cli does, without a process for each question: tests ask many.

package redistest

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"os/exec"
	"strconv"
	"strings"
)

// CLI does a command as redis-cli would and returns what it would print, but for empty lines at the
// end. A first argument with a dash is an option of redis-cli, which is run then.
func (s *Server) CLI(args ...string) string {
	s.t.Helper()
	out, err := s.TryCLI(args...)
	if err != nil {
		s.t.Fatal(err)
	}
	return out
}

// TryCLI is CLI for a server that may not answer.
func (s *Server) TryCLI(args ...string) (string, error) {
	if strings.HasPrefix(args[0], "-") {
		_, port, _ := net.SplitHostPort(s.Addr)
		out, err := exec.Command("redis-cli", append([]string{"-p", port}, args...)...).CombinedOutput()
		if err != nil {
			return "", fmt.Errorf("redis-cli %v: %w: %s", args, err, out)
		}
		return string(out), nil
	}
	out, err := s.ask(args)
	if err != nil {
		return "", fmt.Errorf("%v: %w", args, err)
	}
	return out + "\n", nil
}

func (s *Server) ask(args []string) (string, error) {
	conn, err := net.Dial("tcp", s.Addr)
	if err != nil {
		return "", err
	}
	defer conn.Close()
	request := fmt.Appendf(nil, "*%d\r\n", len(args))
	for _, a := range args {
		request = fmt.Appendf(request, "$%d\r\n%s\r\n", len(a), a)
	}
	if _, err := conn.Write(request); err != nil {
		return "", err
	}
	return printed(bufio.NewReader(conn))
}

// printed reads a reply and returns it as redis-cli prints it when there is no terminal.
func printed(r *bufio.Reader) (string, error) {
	line, err := r.ReadString('\n')
	if err != nil {
		return "", err
	}
	typ, text := line[0], strings.TrimSuffix(line[1:], "\r\n")
	n, _ := strconv.Atoi(text)
	switch {
	case typ == '+', typ == ':':
		return text, nil
	case typ == '-':
		return text + "\n", nil
	case typ == '$' && n < 0:
		return "", nil
	case typ == '$':
		b := make([]byte, n+2)
		_, err := io.ReadFull(r, b)
		return string(b[:n]), err
	case typ == '*':
		parts := make([]string, max(n, 0))
		for i := range parts {
			if parts[i], err = printed(r); err != nil {
				return "", err
			}
		}
		return strings.Join(parts, "\n"), nil
	}
	return "", fmt.Errorf("not a reply: %q", line)
}
