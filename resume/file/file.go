// Package file is the store of what resumes shards in a file.
package file

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/gofrs/flock"

	"sluice/internal/failpoint"
	"sluice/resume"
)

const (
	fileName = "sessions"     // the store
	newName  = "sessions.new" // the one that will take its place
	badName  = "sessions.bad" // one that could not be read whole
	lockName = "lock"
	// syncEvery bounds how old a checkpoint may be that a power cut leaves. An older
	// one costs repeats, and nothing else.
	syncEvery = time.Second
	// minGrowth is how much is appended at least before the file is written anew.
	minGrowth = 1 << 20
)

// Store is a resume.Store in a file of a directory that one process at a time may use. It is
// safe against a crash of the process and of the machine at any moment: what is
// there afterwards is the last checkpoint of a shard, or one before it, and never one
// that was not saved.
//
// Changes are appended to the file. Once it has grown to several times what it holds,
// it is written anew under another name, synced, and renamed.
type Store struct {
	disk disk
	lock *flock.Flock // nil in tests
	log  *slog.Logger

	state  resume.State
	file   diskFile // nil: it must be written anew first
	size   int      // bytes of it
	full   int      // size from which it is written anew
	synced time.Time
	behind bool // something is not synced
	buf    []byte
}

// InUseError is of a directory that another process uses.
type InUseError struct {
	Dir string
	PID int // 0: not known
}

func (e *InUseError) Error() string {
	who := "another process"
	if e.PID != 0 {
		who = fmt.Sprintf("process %d", e.PID)
	}
	return fmt.Sprintf("resume: the directory %s is in use by %s; give each process its own", e.Dir, who)
}

// Open opens the store in a directory, which it creates if it is not there, and
// locks it until Close. A file that cannot be read whole is logged and kept
// beside as sessions.bad; what could be read of it counts, before the damage and behind it.
// If another process has the directory, the error is an *InUseError.
func Open(dir string, log *slog.Logger) (*Store, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("resume: %w", err)
	}
	lock, err := lockDirectory(dir)
	if err != nil {
		return nil, err
	}
	f, err := openFile(directory(dir), log)
	if err != nil {
		lock.Close()
		return nil, err
	}
	f.lock = lock
	return f, nil
}

// lockDirectory locks a directory.
func lockDirectory(dir string) (*flock.Flock, error) {
	path := filepath.Join(dir, lockName)
	if err := regular(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("resume: %w", err)
	}
	lock := flock.New(path)
	locked, err := lock.TryLock()
	if err != nil {
		return nil, fmt.Errorf("resume: %w", err)
	}
	if !locked {
		pid, _ := lockedBy(lock)
		return nil, &InUseError{dir, pid}
	}
	os.WriteFile(path, fmt.Appendf(nil, "%d\n", os.Getpid()), 0o600) // for the error's text alone
	return lock, nil
}

// Owner returns the process that has the directory.
func Owner(dir string) (pid int, err error) {
	path := filepath.Join(dir, lockName)
	if err := regular(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return 0, fmt.Errorf("resume: %w", err)
	}
	lock := flock.New(path, flock.SetFlag(os.O_RDWR))
	free, err := lock.TryLock()
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return 0, fmt.Errorf("resume: %w", err)
	}
	if free || err != nil {
		lock.Close()
		return 0, fmt.Errorf("resume: no process uses the directory %s", dir)
	}
	return lockedBy(lock)
}

// lockedBy returns which process has said that it has the lock.
func lockedBy(lock *flock.Flock) (pid int, err error) {
	text, err := readRegular(lock.Path())
	if err == nil {
		pid, err = strconv.Atoi(strings.TrimSpace(string(text)))
	}
	if err != nil {
		return 0, fmt.Errorf("resume: the process that uses the directory is not known: %w", err)
	}
	return pid, nil
}

// openFile reads the file and writes it anew: it then has no torn end, and it is known
// that it can be written. A disk that is full or broken is no reason not to go on with what
// has been read.
func openFile(d disk, log *slog.Logger) (*Store, error) {
	f := &Store{disk: d, log: log}
	text, err := d.read(fileName)
	if errors.Is(err, errTooLarge) {
		log.Warn("the file of the persisted sessions is none of ours; it is discarded", "error", err, "kept_as", badName)
		err = d.rename(fileName, badName)
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("resume: %w", err)
	}
	rest, known := strings.CutPrefix(string(text), magic)
	left := damage{bytes: len(rest)}
	if known {
		f.state, left = parseFile([]byte(rest))
	}
	if !left.none() {
		why := "the file of the persisted sessions is none of ours; it is discarded"
		switch {
		case known && (left.inside || len(left.errs) > 0):
			why = "some of the persisted sessions cannot be read; the others count"
		case known:
			why = "the last of the persisted sessions cannot be read, as after a power cut; those before it count"
		}
		attrs := []any{"bytes", left.bytes, "records", len(left.errs), "sessions", len(f.state.Checkpoints), "kept_as", badName}
		if len(left.errs) > 0 {
			attrs = append(attrs, "error", left.errs[0]) // the first; there may be thousands
		}
		log.Warn(why, attrs...)
		// A copy: whatever happens now, the file is there until the new one is.
		if err := writeFile(d, badName, text); err != nil {
			log.Warn("it could not be kept", "error", err)
		}
	}
	err = f.rewrite()
	if errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) || errors.Is(err, syscall.EIO) {
		log.Warn("the sessions can be read, but not persisted: after a crash, events since then are redelivered or lost", "error", err)
		err = nil
	}
	if err != nil {
		return nil, err
	}
	return f, nil
}

// Read returns what is stored in a directory, which a process may be using. It changes
// nothing; nothing is stored where there is no file.
func Read(dir string) (resume.State, error) {
	text, err := readRegular(filepath.Join(dir, fileName))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return resume.State{}, fmt.Errorf("resume: %w", err)
	}
	rest, known := strings.CutPrefix(string(text), magic)
	if !known && len(text) > 0 {
		return resume.State{}, fmt.Errorf("resume: %s is no file of sessions", filepath.Join(dir, fileName))
	}
	s, left := parseFile([]byte(rest))
	s.Unreadable = left.errs
	if left.bytes > 0 {
		s.Unreadable = append(s.Unreadable, fmt.Errorf("%s has %d bytes that are no record", filepath.Join(dir, fileName), left.bytes))
	}
	return s, nil
}

// Load returns what is stored.
func (f *Store) Load(context.Context) (resume.State, error) {
	var s resume.State
	s.Apply(f.state)
	return s, nil
}

// Save appends the changes. New sessions and counts of starts are synced, and all else
// at least once in a second in which something is saved.
func (f *Store) Save(_ context.Context, changes resume.State) error {
	f.buf = f.buf[:0]
	changes = changes.Checked()
	for shard, c := range changes.Checkpoints {
		c.At = c.At.Truncate(time.Millisecond)
		was, has := f.state.Checkpoints[shard]
		same := was
		same.Seq, same.At = c.Seq, c.At
		switch {
		case c.Empty() && !has:
			continue
		case c.Empty():
			f.buf = appendRemoval(f.buf, shard)
			f.synced = time.Time{}
		case has && same == c:
			f.buf = appendAdvance(f.buf, shard, c)
		default:
			f.buf = appendCheckpoint(f.buf, shard, c)
			f.synced = time.Time{}
		}
	}
	if changes.Starts != (resume.Starts{}) {
		f.buf = appendStarts(f.buf, changes.Starts)
		f.synced = time.Time{}
	}
	if changes.Plan != (resume.Plan{}) {
		f.buf = appendPlan(f.buf, changes.Plan)
		f.synced = time.Time{}
	}
	f.state.Apply(changes)
	if f.file != nil && !f.disk.has(fileName, f.file, f.size) {
		f.log.Warn("the file of the persisted sessions is gone or another: it is written again")
		f.abandon()
	}
	if err := f.relock(); err != nil {
		f.abandon() // the changes are in f.state alone
		return err
	}
	if f.file == nil || f.size+len(f.buf) > f.full {
		return f.rewrite()
	}
	if len(f.buf) > 0 {
		if _, err := f.file.Write(f.buf); err != nil {
			f.abandon() // what is there of it must not come before something else
			return fmt.Errorf("resume: %w", err)
		}
		f.size += len(f.buf)
		f.behind = true
	}
	if f.behind && time.Since(f.synced) >= syncEvery {
		if err := f.file.Sync(); err != nil {
			f.abandon() // what is on the disk is not known after that
			return fmt.Errorf("resume: %w", err)
		}
		f.behind, f.synced = false, time.Now()
	}
	return nil
}

// Replace writes all of the state to a new file, in place of what is stored.
func (f *Store) Replace(_ context.Context, state resume.State) error {
	if err := f.relock(); err != nil {
		f.abandon()
		return err
	}
	before := f.state
	var next resume.State
	next.Apply(state)
	next.Starts = before.Starts
	for shard, c := range next.Checkpoints {
		c.At = c.At.Truncate(time.Millisecond)
		next.Checkpoints[shard] = c
	}
	f.state = next
	err := f.rewrite()
	if err != nil {
		f.state = before // the next Save writes it anew, whichever file has the name now
		f.abandon()
	}
	return err
}

// relock locks the directory again after its lock has been removed, perhaps with all of the
// directory: another process could lock, and write, what has its name now.
func (f *Store) relock() error {
	if f.lock == nil {
		return nil
	}
	path := f.lock.Path()
	held, err := f.lock.Stat()
	if err != nil {
		return fmt.Errorf("resume: %w", err)
	}
	if named, err := os.Stat(path); err == nil && os.SameFile(held, named) {
		return nil
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return fmt.Errorf("resume: %w", err)
	}
	lock, err := lockDirectory(filepath.Dir(path))
	if err != nil {
		return err
	}
	f.lock.Close()
	f.lock = lock
	return nil
}

// rewrite writes all of the state to a new file, which replaces the old one
// when it is on the disk.
func (f *Store) rewrite() error {
	buf := append(f.buf[:0], magic...)
	shards := make([]int, 0, len(f.state.Checkpoints))
	for shard := range f.state.Checkpoints {
		shards = append(shards, shard)
	}
	slices.Sort(shards)
	for _, shard := range shards {
		buf = appendCheckpoint(buf, shard, f.state.Checkpoints[shard])
	}
	if f.state.Starts != (resume.Starts{}) {
		buf = appendStarts(buf, f.state.Starts)
	}
	if f.state.Plan != (resume.Plan{}) {
		buf = appendPlan(buf, f.state.Plan)
	}
	f.buf = buf
	f.abandon() // it may be replaced already when this fails, and must not be appended to
	err := writeFile(f.disk, newName, buf)
	failpoint.Hit("store.rename")
	if err == nil {
		err = f.disk.rename(newName, fileName)
	}
	failpoint.Hit("store.renamed")
	if err == nil {
		err = f.disk.sync()
	}
	if err == nil {
		f.file, err = f.disk.extend(fileName)
	}
	if err != nil {
		return fmt.Errorf("resume: %w", err)
	}
	f.size, f.full = len(buf), 4*len(buf)+minGrowth
	f.behind, f.synced = false, time.Now()
	return nil
}

// writeFile writes a file that is on the disk when it returns.
func writeFile(d disk, name string, text []byte) error {
	f, err := d.create(name)
	if err != nil {
		return err
	}
	_, err = f.Write(text)
	if err == nil {
		err = f.Sync()
	}
	return errors.Join(err, f.Close())
}

// abandon closes the file, so that the next Save writes it anew.
func (f *Store) abandon() {
	if f.file != nil {
		f.file.Close()
		f.file = nil
	}
}

// Close syncs what is not, and lets other processes have the directory.
func (f *Store) Close() error {
	var err error
	if f.file != nil && f.behind {
		err = f.file.Sync()
	}
	f.abandon()
	if f.lock != nil {
		err = errors.Join(err, f.lock.Close())
	}
	return err
}
