// This file reads commands from a stream: where each begins and ends, and the
// one line of log that a bad one gives.

package stdio

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strconv"
	"time"
	"unicode/utf8"

	"sluice/sinks"
	"sluice/sinks/commands"
	"sluice/sinks/msgpack"
)

const (
	// maxItem bounds a command in bytes, a JSON line without its line feed.
	maxItem = commands.MaxSize
	// maxSkipped bounds a MessagePack value that is read to its end although
	// it is refused for its size. One that goes on longer is taken for broken.
	maxSkipped = 16 << 20
	// maxExcerpt bounds what is logged of a bad command, in bytes.
	maxExcerpt = 200
)

// ReadCommands reads commands from r, in either form that the package's comment
// shows, and gives each to send, whose argument's Packet is valid only during
// the call.
//
// What is no command, and a command for which send returns an error, give one
// warning to log (nil: none) with where it stood and why. A JSON line longer
// than 1 MiB is skipped to its end, and so is a longer MessagePack map. After a
// map that is broken, or nested more than 100 deep, its end cannot be known:
// everything is skipped up to the next line feed or the next map that begins
// with a command's key.
//
// counts, if it is not nil, counts what becomes of the commands.
//
// ReadCommands returns nil at the end of r, and the error of a failed read
// otherwise. Nothing else ends it: a read from standard input cannot be called
// off, so run it on a goroutine of its own, and do not wait for it when the
// process is to end.
func ReadCommands(r io.Reader, send func(sinks.Command) error, counts *commands.Counts, log *slog.Logger) error {
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	counts.Reads(commands.Stdin)
	in := &reader{br: bufio.NewReaderSize(r, 64<<10), send: send, counts: counts, log: log, line: 1}
	err := in.skipMark()
	for err == nil {
		err = in.next()
	}
	if err == io.EOF {
		return nil
	}
	return fmt.Errorf("stdio: read commands: %w", err)
}

// reader is the state of one ReadCommands.
type reader struct {
	br     *bufio.Reader
	send   func(sinks.Command) error
	counts *commands.Counts
	log    *slog.Logger

	item  []byte // the item that is being read, at most maxItem bytes of it
	size  int    // bytes of the item, those not kept in item included
	line  int    // number of the line that is being read; line feeds within MessagePack do not count
	count int    // MessagePack items so far
}

// skipMark skips the byte order mark with which PowerShell begins a pipe.
func (r *reader) skipMark() error {
	b, err := r.br.Peek(1)
	if err == nil && b[0] == '\xef' {
		if b, _ = r.br.Peek(3); string(b) == "\ufeff" {
			_, err = r.br.Discard(3)
		}
	}
	return err
}

// next reads one item and does what it asks for. The error is that of the
// stream.
func (r *reader) next() error {
	b, err := r.br.Peek(1)
	if err != nil {
		return err
	}
	if cap(r.item) > 64<<10 {
		r.item = nil // few commands are that long
	}
	r.item, r.size = r.item[:0], 0
	switch c := b[0]; {
	case c == '\n':
		r.line++
		fallthrough
	case c == ' ' || c == '\t' || c == '\r':
		_, err := r.br.Discard(1)
		return err
	case c == '{':
		return r.jsonLine()
	case msgpack.HeadOf(c).Kind == msgpack.Map:
		// Two of these bytes also begin letters. They count with fewer than
		// 256 pairs, and letters do not go on with a zero.
		if b, _ := r.br.Peek(2); msgpack.HeadOf(c).Width == 0 || len(b) == 2 && b[1] == 0 {
			return r.msgPackItem()
		}
	}
	r.malformed("line", r.line, errors.New("a command is a JSON object in one line, or a MessagePack map"), r.arrived())
	return r.readLine(false)
}

// jsonLine reads the rest of a line and takes it for a command.
func (r *reader) jsonLine() error {
	line := r.line
	err := r.readLine(true)
	if err != nil && err != io.EOF {
		return err
	}
	r.take("line", line)
	return err
}

// take takes the item for a command.
func (r *reader) take(unit string, number int) {
	r.counts.Received(commands.Stdin)
	err := commands.TooLong(r.size, maxItem)
	var c sinks.Command
	if r.size <= maxItem {
		if c, err = commands.ParseItem(r.item); err == nil {
			came := time.Now()
			c.Sent = func() { r.counts.Sent(commands.Stdin, came) }
			err = r.send(c)
		}
	}
	if err != nil {
		r.counts.Refused(commands.Stdin, commands.Reason(err, c, 0))
		r.refuse(unit, number, err, r.item)
		return
	}
	r.counts.Given(commands.Stdin)
}

// malformed refuses what is not even an item.
func (r *reader) malformed(unit string, number int, why error, item []byte) {
	r.counts.Received(commands.Stdin)
	r.counts.Refused(commands.Stdin, commands.Malformed)
	r.refuse(unit, number, why, item)
}

// msgPackItem reads a MessagePack map and takes it for a command.
func (r *reader) msgPackItem() error {
	r.count++
	bad, err := r.readMap()
	if err == io.ErrUnexpectedEOF {
		r.malformed("item", r.count, errors.New("the input ended within a MessagePack map"), r.item)
		return io.EOF
	}
	if err != nil {
		return err
	}
	if bad != nil {
		r.malformed("item", r.count, bad, r.item)
		return r.readLine(false)
	}
	r.take("item", r.count)
	return nil
}

// readMap reads a MessagePack map into item. bad says why it is none whose end
// can be known; the stream is then somewhere behind its beginning.
func (r *reader) readMap() (bad, err error) {
	left := make([]uint64, 1, 8) // values to come, at each depth
	left[0] = 1
	for len(left) > 0 {
		top := len(left) - 1
		if left[top] == 0 {
			left = left[:top]
			continue
		}
		if top == 1 && left[top]%2 == 0 {
			// What is no key is rather the next command, and this one cut off.
			if b, _ := r.br.Peek(1); len(b) == 1 && !msgpack.HeadOf(b[0]).Kind.IsKey() {
				return msgpack.ErrKey, nil
			}
		}
		left[top]--
		c, err := r.readByte()
		if err != nil {
			return nil, err
		}
		head := msgpack.HeadOf(c)
		n := head.N
		for range head.Width {
			if c, err = r.readByte(); err != nil {
				return nil, err
			}
			n = n<<8 | uint64(c)
		}
		switch head.Kind {
		case msgpack.Invalid:
			return msgpack.ErrInvalid, nil
		case msgpack.Map, msgpack.Array:
			if head.Kind == msgpack.Map {
				n *= 2
			}
			if left = append(left, n); len(left) > 1+msgpack.MaxDepth {
				return msgpack.ErrDepth, nil
			}
			continue
		case msgpack.Ext:
			n++ // the type
		}
		if uint64(r.size)+n > maxSkipped {
			return fmt.Errorf("the MessagePack value is broken or longer than %d bytes; a command may have up to %d", maxSkipped, maxItem), nil
		}
		if err := r.readBytes(int(n)); err != nil {
			return nil, err
		}
	}
	return nil, nil
}

// readByte reads a byte of a MessagePack value.
func (r *reader) readByte() (byte, error) {
	c, err := r.br.ReadByte()
	if err == io.EOF {
		return 0, io.ErrUnexpectedEOF
	}
	if r.size++; err == nil && len(r.item) < maxItem {
		r.item = append(r.item, c)
	}
	return c, err
}

// readBytes reads n bytes of a MessagePack value.
func (r *reader) readBytes(n int) error {
	r.size += n
	for n > 0 {
		b, err := r.br.Peek(1)
		if err == nil {
			b, err = r.br.Peek(min(n, r.br.Buffered()))
		}
		if err == io.EOF {
			return io.ErrUnexpectedEOF
		}
		if err != nil {
			return err
		}
		r.item = append(r.item, b[:min(len(b), maxItem-len(r.item))]...)
		n -= len(b)
		if _, err := r.br.Discard(len(b)); err != nil {
			return err
		}
	}
	return nil
}

// readLine reads into item up to the next line feed, and over it. It stops
// before a MessagePack map that begins as a command does, which has its place in
// garbage but not in text: there it counts only where its first byte, a
// continuation byte of UTF-8, follows an ASCII character.
func (r *reader) readLine(text bool) error {
	var last byte
	for {
		b, err := r.br.Peek(1)
		if err != nil {
			return err
		}
		c := b[0]
		if msgpack.HeadOf(c).Kind == msgpack.Map && (!text || last < utf8.RuneSelf) {
			if b, _ := r.br.Peek(longestStart); beginsCommand(b) {
				return nil
			}
		}
		if _, err := r.br.Discard(1); err != nil {
			return err
		}
		if c == '\n' {
			r.line++
			return nil
		}
		if r.size++; len(r.item) < maxItem {
			r.item = append(r.item, c)
		}
		last = c
	}
}

// longestStart is the longest that beginsCommand looks at.
const longestStart = 1 + 1 + len("guild_id")

// beginsCommand reports whether b begins as a command's map does, with one of
// its keys first.
func beginsCommand(b []byte) bool {
	if len(b) < 2 || b[0]&^0x0f != 0x80 || b[1]&^0x1f != 0xa0 { // a map, and a string as its key, that are short
		return false
	}
	n := int(b[1] & 0x1f)
	if len(b) < 2+n {
		return false
	}
	switch string(b[2 : 2+n]) {
	case "event", "data", "shard", "guild_id", "packet":
		return true
	}
	return false
}

// arrived returns what can be shown of the line that is being read without waiting for
// the rest of it.
func (r *reader) arrived() []byte {
	b, _ := r.br.Peek(min(r.br.Buffered(), maxExcerpt+1))
	if end := bytes.IndexByte(b, '\n'); end >= 0 {
		b = b[:end]
	}
	return b
}

// refuse logs why an item is refused.
func (r *reader) refuse(unit string, number int, why error, item []byte) {
	r.log.Warn("command refused", unit, number, "error", why, "input", excerpt(item))
}

// excerpt returns the beginning of item with everything in it that is not
// printable escaped, up to maxExcerpt bytes long, and "…" if that is not all.
func excerpt(item []byte) string {
	item = bytes.TrimRight(item, "\r\n")
	out := make([]byte, 0, maxExcerpt+len("…"))
	for len(item) > 0 {
		start := len(out)
		c, n := utf8.DecodeRune(item)
		switch {
		case c == utf8.RuneError && n == 1:
			out = fmt.Appendf(out, `\x%02x`, item[0])
		case strconv.IsPrint(c):
			out = append(out, item[:n]...)
		default:
			quoted := strconv.QuoteRune(c)
			out = append(out, quoted[1:len(quoted)-1]...)
		}
		if len(out) > maxExcerpt {
			return string(out[:start]) + "…"
		}
		item = item[n:]
	}
	return string(out)
}
