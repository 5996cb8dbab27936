// Package disktest is a disk for tests of what a process leaves on one: it records each operation,
// can fail any of them, and shows what a power cut would leave.
package disktest

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"math/rand/v2"
	"slices"
	"sync"
	"syscall"
	"testing/fstest"
)

// Kind is what an operation does. Reading, opening and closing are none.
type Kind string

const (
	Create   Kind = "create" // an empty file, or make one empty
	Write    Kind = "write"
	Sync     Kind = "sync"
	Truncate Kind = "truncate"
	Rename   Kind = "rename"
	Remove   Kind = "remove"
	SyncDir  Kind = "sync directory"
)

// Op is an operation.
type Op struct {
	Kind  Kind
	Name  string // of the file, as it is called now; of a rename, what it was called
	Bytes int    // written, or left by a truncation
}

func (o Op) String() string { return fmt.Sprintf("%s %s %d", o.Kind, o.Name, o.Bytes) }

// ErrCut is of what is done after the power was cut.
var ErrCut = errors.New("the power is cut")

// Disk is a directory. Several goroutines may use it, and its files.
type Disk struct {
	mu     sync.Mutex
	ops    []Op
	left   int            // operations until the power is cut
	room   int            // bytes until the disk is full
	fail   func(Op) error // nil: nothing fails
	files  map[string]*inode
	synced map[string]*inode         // the names as they are on the disk
	names  []func(map[string]*inode) // what has changed of them since
}

// inode is what a name stands for.
type inode struct {
	name    string // as it is called now
	text    []byte // as the process sees it
	synced  []byte // as it is on the disk
	changes []change
	lost    int // of changes: by a sync that has failed, the next does not write them
}

// change is what was not synced.
type change struct {
	at   int
	text []byte // nil: a truncation to at
}

func (c change) apply(text []byte) []byte {
	if n := c.at + len(c.text); len(text) < n {
		text = append(text, make([]byte, n-len(text))...)
	}
	if c.text == nil {
		return text[:c.at]
	}
	copy(text[c.at:], c.text)
	return text
}

const unlimited = 1 << 40

// New returns an empty disk.
func New() *Disk {
	return &Disk{left: unlimited, room: unlimited, files: map[string]*inode{}, synced: map[string]*inode{}}
}

// CutAfter cuts the power after n more operations: the next is half done, and it and all others fail.
func (d *Disk) CutAfter(n int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.left = n
}

// SetRoom makes n the bytes that can be written until the disk is full; negative: any.
func (d *Disk) SetRoom(n int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.room = n; n < 0 {
		d.room = unlimited
	}
}

// Fail has operations fail for which fail returns an error: a write is half done, what a sync was
// to write is lost. fail must not use the disk; nil ends it.
func (d *Disk) Fail(fail func(Op) error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.fail = fail
}

// Ops returns the operations until now, those that failed included.
func (d *Disk) Ops() []Op {
	d.mu.Lock()
	defer d.mu.Unlock()
	return slices.Clone(d.ops)
}

// Put puts a file on the disk. It is no operation, and synced.
func (d *Disk) Put(name string, text []byte) {
	d.mu.Lock()
	defer d.mu.Unlock()
	f := &inode{name: name, text: bytes.Clone(text), synced: bytes.Clone(text)}
	d.files[name], d.synced[name] = f, f
}

// Copy returns what the process sees: the disk after the process was killed.
func (d *Disk) Copy() *Disk {
	d.mu.Lock()
	defer d.mu.Unlock()
	next := New()
	for name, f := range d.files {
		next.Put(name, f.text)
	}
	return next
}

// Crash returns what a power cut leaves. Without r it is what was synced, and nothing else. With r
// it is also some of what was not: the first changes of the directory, and of a file some of
// its writes, the last of them torn or zeros, perhaps without one in the middle.
func (d *Disk) Crash(r *rand.Rand) *Disk {
	d.mu.Lock()
	defer d.mu.Unlock()
	names := maps.Clone(d.synced)
	if r != nil {
		for _, change := range d.names[:r.IntN(len(d.names)+1)] {
			change(names)
		}
	}
	next := New()
	for _, name := range slices.Sorted(maps.Keys(names)) {
		next.Put(name, names[name].crash(r))
	}
	return next
}

func (f *inode) crash(r *rand.Rand) []byte {
	text := bytes.Clone(f.synced)
	if r == nil || len(f.changes) == 0 {
		return text
	}
	kept := r.IntN(len(f.changes) + 1)
	holes, zeros := r.IntN(4) == 0, r.IntN(4) == 0
	for i, c := range f.changes[:kept] {
		switch {
		case holes && r.IntN(2) == 0:
			continue
		case c.text != nil && i == kept-1:
			c.text = bytes.Clone(c.text[:r.IntN(len(c.text)+1)])
			if zeros { // the length is on the disk, the text is not
				clear(c.text)
			}
		}
		text = c.apply(text)
	}
	return text
}

// do notes an operation, and returns whether it fails.
func (d *Disk) do(op Op) error {
	d.ops = append(d.ops, op)
	if d.left <= 0 {
		d.left = -1
		return ErrCut
	}
	d.left--
	if d.fail != nil {
		return d.fail(op)
	}
	return nil
}

// name changes the directory.
func (d *Disk) name(change func(map[string]*inode)) {
	change(d.files)
	d.names = append(d.names, change)
}

func missing(op, name string) error { return &fs.PathError{Op: op, Path: name, Err: fs.ErrNotExist} }

// Read returns what a file holds.
func (d *Disk) Read(name string) ([]byte, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	f, ok := d.files[name]
	if !ok {
		return nil, missing("open", name)
	}
	return bytes.Clone(f.text), nil
}

// ReadDir returns what is there, by name.
func (d *Disk) ReadDir() ([]fs.DirEntry, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	files := fstest.MapFS{}
	for name, f := range d.files {
		files[name] = &fstest.MapFile{Data: bytes.Clone(f.text)}
	}
	return files.ReadDir(".")
}

// Create opens a file that is empty now, also one that was there.
func (d *Disk) Create(name string) (*File, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := d.do(Op{Create, name, 0}); err != nil {
		return nil, err
	}
	f, ok := d.files[name]
	if ok {
		f.change(change{})
	} else {
		f = &inode{name: name}
		d.name(func(names map[string]*inode) { names[name] = f })
	}
	return &File{d: d, f: f}, nil
}

// CreateNew is Create for a file that is not there.
func (d *Disk) CreateNew(name string) (*File, error) {
	if d.Has(name) {
		return nil, &fs.PathError{Op: "create", Path: name, Err: fs.ErrExist}
	}
	return d.Create(name)
}

// Open opens a file.
func (d *Disk) Open(name string) (*File, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	f, ok := d.files[name]
	if !ok {
		return nil, missing("open", name)
	}
	return &File{d: d, f: f}, nil
}

// Has reports whether a file is there.
func (d *Disk) Has(name string) bool {
	_, err := d.Open(name)
	return err == nil
}

// Rename gives a file another name, which it takes from the one that has it.
func (d *Disk) Rename(from, to string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := d.do(Op{Rename, from, 0}); err != nil {
		return err
	}
	f, ok := d.files[from]
	if !ok {
		return missing("rename", from)
	}
	f.name = to
	d.name(func(names map[string]*inode) {
		delete(names, from)
		names[to] = f
	})
	return nil
}

// Remove removes a file.
func (d *Disk) Remove(name string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := d.do(Op{Remove, name, 0}); err != nil {
		return err
	}
	if _, ok := d.files[name]; !ok {
		return missing("remove", name)
	}
	d.name(func(names map[string]*inode) { delete(names, name) })
	return nil
}

// Sync syncs the directory: the names, and not what they stand for.
func (d *Disk) Sync() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := d.do(Op{Kind: SyncDir}); err != nil {
		return err
	}
	d.synced, d.names = maps.Clone(d.files), nil
	return nil
}

// File is an open file.
type File struct {
	d      *Disk
	f      *inode
	closed bool
}

func (f *inode) change(c change) {
	f.text = c.apply(f.text)
	f.changes = append(f.changes, c)
}

// Write writes at the end.
func (f *File) Write(b []byte) (int, error) { return f.write(b, -1) }

// WriteAt writes at an offset.
func (f *File) WriteAt(b []byte, at int64) (int, error) { return f.write(b, int(at)) }

func (f *File) write(b []byte, at int) (n int, err error) {
	f.d.mu.Lock()
	defer f.d.mu.Unlock()
	if f.closed {
		return 0, fs.ErrClosed
	}
	wasCut := f.d.left < 0
	err = f.d.do(Op{Write, f.f.name, len(b)})
	switch {
	case wasCut:
		return 0, err
	case err != nil:
		n = len(b) / 2
	case len(b) > f.d.room:
		n, err = f.d.room, syscall.ENOSPC
	default:
		n = len(b)
	}
	f.d.room -= n
	if at < 0 {
		at = len(f.f.text)
	}
	if n > 0 {
		f.f.change(change{at, bytes.Clone(b[:n])})
	}
	return n, err
}

// ReadAt reads at an offset.
func (f *File) ReadAt(b []byte, at int64) (int, error) {
	f.d.mu.Lock()
	defer f.d.mu.Unlock()
	if f.closed {
		return 0, fs.ErrClosed
	}
	if at >= int64(len(f.f.text)) {
		return 0, io.EOF
	}
	n := copy(b, f.f.text[at:])
	if n < len(b) {
		return n, io.EOF
	}
	return n, nil
}

// Sync has what was written on the disk. As with Linux, what it could not write is lost, though the
// process goes on to see it: a Sync that does not fail afterwards says nothing about that.
func (f *File) Sync() error {
	f.d.mu.Lock()
	defer f.d.mu.Unlock()
	if f.closed {
		return fs.ErrClosed
	}
	if err := f.d.do(Op{Sync, f.f.name, 0}); err != nil {
		f.f.lost = len(f.f.changes)
		return err
	}
	for _, c := range f.f.changes[f.f.lost:] {
		f.f.synced = c.apply(f.f.synced)
	}
	if n := len(f.f.text) - len(f.f.synced); n > 0 {
		f.f.synced = append(f.f.synced, make([]byte, n)...)
	}
	f.f.changes, f.f.lost = nil, 0
	return nil
}

// Truncate makes the file's size another.
func (f *File) Truncate(size int64) error {
	f.d.mu.Lock()
	defer f.d.mu.Unlock()
	if f.closed {
		return fs.ErrClosed
	}
	if err := f.d.do(Op{Truncate, f.f.name, int(size)}); err != nil {
		return err
	}
	f.f.change(change{at: int(size)})
	return nil
}

// Size returns how long the file is.
func (f *File) Size() int {
	f.d.mu.Lock()
	defer f.d.mu.Unlock()
	return len(f.f.text)
}

// Is reports whether the file is what has the name.
func (f *File) Is(name string) bool {
	f.d.mu.Lock()
	defer f.d.mu.Unlock()
	return f.d.files[name] == f.f
}

// Close closes the file: what was not synced stays so.
func (f *File) Close() error {
	f.d.mu.Lock()
	defer f.d.mu.Unlock()
	if f.closed {
		return fs.ErrClosed
	}
	f.closed = true
	return nil
}
