// This file is the part of the operating system that the file needs, so that tests
// can take its place and lose what was not synced.

package file

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"syscall"
)

// maxFile is the longest file that is read. Those of 16,384 shards have some MB.
const maxFile = 256 << 20

// errTooLarge is of a file that is longer.
var errTooLarge = errors.New("file too large")

// disk is a directory. Its errors name the file. Only regular files are opened: a pipe may be
// waited for without end, and a device has none.
type disk interface {
	read(name string) ([]byte, error)
	create(name string) (diskFile, error)       // empty, to be written
	extend(name string) (diskFile, error)       // that is there, to be written on
	rename(from, to string) error               // over one that is not open
	has(name string, f diskFile, size int) bool // f is what has the name, and that long
	sync() error                                // what create and rename did is there after a power cut
}

// diskFile is a file that is written from its beginning to its end.
type diskFile interface {
	io.WriteCloser
	Sync() error
}

// directory is a disk of the operating system.
type directory string

func (d directory) read(name string) ([]byte, error) {
	return readRegular(filepath.Join(string(d), name))
}

func (d directory) create(name string) (diskFile, error) {
	path := filepath.Join(string(d), name)
	f, err := openRegular(path, os.O_CREATE|os.O_TRUNC|os.O_WRONLY)
	if errors.Is(err, fs.ErrNotExist) { // the directory has been removed
		if err = os.MkdirAll(string(d), 0o700); err == nil {
			f, err = openRegular(path, os.O_CREATE|os.O_TRUNC|os.O_WRONLY)
		}
	}
	if err != nil {
		return nil, err
	}
	return f, nil
}

func (d directory) extend(name string) (diskFile, error) {
	f, err := openRegular(filepath.Join(string(d), name), os.O_APPEND|os.O_WRONLY)
	if err != nil {
		return nil, err
	}
	return f, nil
}

func (d directory) has(name string, f diskFile, size int) bool {
	file, ok := f.(*os.File)
	if !ok {
		return false
	}
	opened, err := file.Stat()
	named, e := os.Lstat(filepath.Join(string(d), name))
	return err == nil && e == nil && os.SameFile(opened, named) && opened.Size() == int64(size)
}

// openRegular opens a regular file, and nothing else.
func openRegular(path string, flag int) (*os.File, error) {
	if err := regular(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	f, err := os.OpenFile(path, flag|syscall.O_NONBLOCK, 0o600) // it may be another by now
	if err != nil {
		return nil, err
	}
	info, err := f.Stat()
	if err == nil {
		err = checkRegular(path, info)
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

// regular returns an error if the file is not regular, or not there.
func regular(path string) error {
	info, err := os.Stat(path)
	if err != nil {
		return err
	}
	return checkRegular(path, info)
}

func checkRegular(path string, info fs.FileInfo) error {
	if !info.Mode().IsRegular() {
		return fmt.Errorf("%s is not a regular file, but %v: remove it", path, info.Mode())
	}
	return nil
}

// readRegular reads a regular file.
func readRegular(path string) ([]byte, error) {
	f, err := openRegular(path, os.O_RDONLY)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if info.Size() > maxFile {
		return nil, fmt.Errorf("%s: %w: %d bytes, at most %d", path, errTooLarge, info.Size(), maxFile)
	}
	return io.ReadAll(io.LimitReader(f, maxFile))
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
