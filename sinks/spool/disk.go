// This file is the part of the operating system that the log needs, so that tests can take its
// place and lose what was not synced.

package spool

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
)

// disk is a directory. Its errors name the file.
type disk interface {
	entries() ([]fs.DirEntry, error)
	read(name string) ([]byte, error)
	write(name string, text []byte) error // all of a file, not synced
	create(name string) (file, error)     // that is not there, to be appended to
	edit(name string) (file, error)       // to be read and written anywhere, made if it is not there
	open(name string) (file, error)       // to be read
	remove(name string) error
	sync() error // what create and remove did is there after a power cut
}

// file is an open file.
type file interface {
	io.WriteCloser
	io.ReaderAt
	io.WriterAt
	Sync() error
	Truncate(size int64) error
}

// directory is a disk of the operating system.
type directory string

func (d directory) path(name string) string { return filepath.Join(string(d), name) }

func (d directory) entries() ([]fs.DirEntry, error) { return os.ReadDir(string(d)) }

func (d directory) read(name string) ([]byte, error) { return os.ReadFile(d.path(name)) }

func (d directory) write(name string, text []byte) error {
	return os.WriteFile(d.path(name), text, 0o600)
}

func (d directory) create(name string) (file, error) {
	return os.OpenFile(d.path(name), os.O_CREATE|os.O_EXCL|os.O_APPEND|os.O_WRONLY, 0o600)
}

func (d directory) edit(name string) (file, error) {
	return os.OpenFile(d.path(name), os.O_CREATE|os.O_RDWR, 0o600)
}

func (d directory) open(name string) (file, error) { return os.Open(d.path(name)) }

func (d directory) remove(name string) error { return os.Remove(d.path(name)) }

func (d directory) sync() error {
	if runtime.GOOS == "windows" {
		return nil // it has no such thing for directories
	}
	f, err := os.Open(string(d))
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}
