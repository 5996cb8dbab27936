// This file makes the output ready.

package stdio

import (
	"context"
	"fmt"
	"os"
)

// Open ends the line that a process before this one may have left unfinished, if the output is a
// file: the first event would be lost in it.
func (s *Sink) Open(context.Context) error {
	if f, ok := s.w.(*os.File); ok && s.format == JSON {
		if err := endLine(f); err != nil {
			return fmt.Errorf("stdio: %w", err)
		}
	}
	return nil
}

func endLine(f *os.File) error {
	info, err := f.Stat()
	if err != nil || !info.Mode().IsRegular() || info.Size() == 0 {
		return nil // a pipe or the like, or nothing is there
	}
	last := make([]byte, 1)
	if r, err := os.Open(f.Name()); err == nil { // which is write-only
		r.ReadAt(last, info.Size()-1)
		r.Close()
	}
	if last[0] != '\n' {
		_, err = f.Write([]byte("\n"))
	}
	return err
}
