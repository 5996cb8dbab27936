// This file reads and writes a Report as JSON.

package report

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
)

// Read reads a Report that WriteJSON wrote. It refuses any other version of the
// form, and anything after the Report but white space. An error is one line.
func Read(r io.Reader) (*Report, error) {
	data, err := io.ReadAll(r)
	if err != nil {
		return nil, fmt.Errorf("report: read: %w", err)
	}
	if len(bytes.TrimSpace(data)) == 0 {
		return nil, errors.New("report: read: nothing there: not a report of gateway-bench")
	}
	// The version comes first: another one may give other types to the rest.
	var head struct {
		Version *int `json:"version"`
	}
	if err := json.Unmarshal(data, &head); err != nil {
		return nil, readError(data, err)
	}
	if head.Version == nil {
		return nil, errors.New(`report: read: no "version": not a report of gateway-bench`)
	}
	if *head.Version != Version {
		return nil, fmt.Errorf("report: read: the form has version %d, this gateway-bench reads version %d alone: make the report again, or use the gateway-bench that made it",
			*head.Version, Version)
	}
	report := new(Report)
	if err := json.Unmarshal(data, report); err != nil {
		return nil, readError(data, err)
	}
	return report, nil
}

// readError says at which line of data err was met, where that is known.
func readError(data []byte, err error) error {
	var offset int64
	var syntax *json.SyntaxError
	var kind *json.UnmarshalTypeError
	switch {
	case errors.As(err, &syntax):
		offset = syntax.Offset
	case errors.As(err, &kind) && kind.Field == "":
		offset = kind.Offset
		err = fmt.Errorf("%s where the report should be", shorten(kind.Value, 40))
	case kind != nil:
		offset = kind.Offset
		err = fmt.Errorf("%s where %q should be: it is of type %v", shorten(kind.Value, 40), kind.Field, kind.Type)
	}
	line := 1 + bytes.Count(data[:min(max(offset, 0), int64(len(data)))], []byte{'\n'})
	return fmt.Errorf("report: read: not a report of gateway-bench: line %d: %w", line, err)
}

// WriteJSON writes r as JSON, on one line, always as this package's Version. JSON
// has no infinity and no "not a number": a Report that holds one is refused, and
// nothing of it is written.
func (r *Report) WriteJSON(w io.Writer) error {
	stamped := *r
	stamped.Version = Version
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(&stamped); err != nil {
		return fmt.Errorf("report: write JSON: %w", err)
	}
	return write(w, "JSON", b.Bytes())
}

// write hands all of data to w. what names it in the error.
func write(w io.Writer, what string, data []byte) error {
	if _, err := w.Write(data); err != nil {
		return fmt.Errorf("report: write %s: %w", what, err)
	}
	return nil
}
