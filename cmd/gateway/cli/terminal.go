// This file describes the terminal: whether there is one, how wide it is, and what it can do.

package cli

import (
	"io"
	"os"

	"golang.org/x/term"
)

// terminal is an output that a person looks at.
type terminal struct {
	file  *os.File
	moves bool // takes sequences that move the cursor and erase
	color bool // and those of colours
}

// terminalOf returns the terminal that w is, or nil. TERM=dumb takes no sequences, and NO_COLOR
// (https://no-color.org) asks for no colours.
func terminalOf(w io.Writer) *terminal {
	f, ok := w.(*os.File)
	if !ok || !onFD(f, term.IsTerminal) {
		return nil
	}
	t := &terminal{file: f, moves: os.Getenv("TERM") != "dumb" && takesSequences(f)}
	t.color = t.moves && os.Getenv("NO_COLOR") == ""
	return t
}

// onFD calls test with the file's descriptor. Fd would make the file block.
func onFD(f *os.File, test func(fd int) bool) (ok bool) {
	if c, err := f.SyscallConn(); err == nil {
		c.Control(func(fd uintptr) { ok = test(int(fd)) })
	}
	return ok
}

// size returns the terminal's size as it is now: 80 by 24 if it does not say.
func (t *terminal) size() (columns, rows int) {
	onFD(t.file, func(fd int) bool {
		columns, rows, _ = term.GetSize(fd)
		return true
	})
	if columns <= 0 {
		columns = 80
	}
	if rows <= 0 {
		rows = 24
	}
	return columns, rows
}

// sameFile reports whether both outputs lead to the same place.
func sameFile(a, b io.Writer) bool {
	infoA, infoB := statOf(a), statOf(b)
	return infoA != nil && infoB != nil && os.SameFile(infoA, infoB)
}

// isPipe reports whether another program reads w, and may write to our terminal.
func isPipe(w io.Writer) bool {
	info := statOf(w)
	return info != nil && info.Mode()&(os.ModeNamedPipe|os.ModeSocket) != 0
}

// statOf returns what is known of the file that w is, or nil.
func statOf(w io.Writer) os.FileInfo {
	f, ok := w.(*os.File)
	if !ok {
		return nil
	}
	info, err := f.Stat()
	if err != nil {
		return nil
	}
	return info
}
