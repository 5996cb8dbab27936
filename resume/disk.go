// This file is the part of the operating system that the file needs, so that tests
// can take its place and lose what was not synced.

package resume

import (
	"io"
	"os"
	"path/filepath"
	"runtime"
)

// disk is a directory. Its errors name the file.
type disk interface {
	read(name string) ([]byte, error)
	create(name string) (diskFile, error) // empty, to be written
	extend(name string) (diskFile, error) // that is there, to be written on
	rename(from, to string) error         // over one that is not open
	sync() error                          // what create and rename did is there after a power cut
}

// diskFile is a file that is written from its beginning to its end.
type diskFile interface {
	io.WriteCloser
	Sync() error
}

// directory is a disk of the operating system.
type directory string

func (d directory) read(name string) ([]byte, error) {
	return os.ReadFile(filepath.Join(string(d), name))
}

func (d directory) create(name string) (diskFile, error) {
	return os.OpenFile(filepath.Join(string(d), name), os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
}

func (d directory) extend(name string) (diskFile, error) {
	return os.OpenFile(filepath.Join(string(d), name), os.O_APPEND|os.O_WRONLY, 0)
}

func (d directory) rename(from, to string) error {
	return os.Rename(filepath.Join(string(d), from), filepath.Join(string(d), to))
}

func (d directory) sync() error {
	if runtime.GOOS == "windows" {
		return nil // it has no such thing for directories
	}
	f, err := os.Open(string(d))
	if err != nil {
		return err
	}
	defer f.Close()
	return f.Sync()
}
