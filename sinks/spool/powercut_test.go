// This file tests the log on a disk whose power is cut, and that fails.

package spool

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"syscall"
	"testing"

	"sluice/internal/disktest"
	"sluice/internal/record"
)

// Once append has returned, its events outlive a power cut: their bytes, and the segment's name.
func TestAppendIsOnTheDisk(t *testing.T) {
	l := openLog(t, newDisk())
	for range 30 {
		if err := l.append(3); err != nil {
			t.Fatal(err)
		}
		l.outlived(l.d.crash(nil))
	}
	if segments, _ := l.d.segmentFiles(t); len(segments) < 3 {
		t.Errorf("segments: %v", segments)
	}
}

// session appends and delivers, and starts again, until all is done or the disk fails for good.
func (l *logged) session(r *rand.Rand) (finished bool) {
	for range 40 {
		switch n := r.IntN(10); {
		case n < 6:
			if err := l.append(1 + r.IntN(4)); errors.Is(err, disktest.ErrCut) {
				return false
			} // another error: what was not written is written the next time
		case n < 9:
			l.deliver(1 + r.IntN(6))
		default: // the process ends, and starts again
			l.log.close()
			next, err := tryLog(l.t, l.d)
			if err != nil {
				return false
			}
			l.told.Write(next.told.Bytes())
			l.log, l.cursor = next.log, next.cursor
		}
	}
	return true
}

// The power is cut at every operation in turn, and the disk keeps of what was not synced now this, now
// that: what was written and is not delivered is left, in order, and at most what was delivered is redelivered.
func TestPowerCut(t *testing.T) {
	for cut := 0; ; cut++ {
		r := rand.New(rand.NewPCG(uint64(cut), 7))
		d := newDisk()
		l := openLog(t, d)
		d.CutAfter(cut)
		finished := l.session(r)
		l.outlived(d.crash(nil))
		for range 10 {
			left := d.crash(r)
			left.CutAfter(r.IntN(6)) // and once more while that is mended
			tryLog(t, left)
			l.outlived(left.crash(r))
		}
		if t.Failed() {
			t.Fatalf("cut at operation %d", cut)
		}
		if finished && cut > 200 {
			return
		}
	}
}

// Each operation in turn fails, and the disk works again: events are written once, in order, and
// those that an append could not write are left to the next one.
func TestFailedOperation(t *testing.T) {
	for failed := 0; ; failed++ {
		for _, times := range []int{1, 2} {
			r := rand.New(rand.NewPCG(uint64(failed), 8))
			d := newDisk()
			l := openLog(t, d)
			n, did := 0, ""
			d.Fail(func(op disktest.Op) error {
				n++
				if n > failed && n <= failed+times {
					did += op.String() + "; "
					return syscall.EIO
				}
				return nil
			})
			l.session(r)
			d.Fail(nil)
			if err := l.append(1); err != nil {
				t.Errorf("after the disk has failed: %v", err)
			}
			if times == 1 { // with two it may be that what was written cannot be taken back
				next := openLog(t, d.copied())
				if got := next.rest(); len(got) == 0 || got[len(got)-1] != l.acked || slices.Max(got) != l.acked || len(got) != int(l.acked-got[0]+1) || got[0] > l.had+1 {
					t.Errorf("left of %d to %d: %v", l.had+1, l.acked, got)
				}
				next.undamaged()
			}
			l.undamaged()
			if t.Failed() {
				t.Fatalf("failed: %s", did)
			}
			if n < failed {
				return
			}
		}
	}
}

// An append that fails leaves nothing behind that a later process would take for events, or for damage.
func TestFailedAppendIsTakenBack(t *testing.T) {
	for _, kind := range []disktest.Kind{disktest.Write, disktest.Sync} {
		for nth := range 2 {
			l := openLog(t, newDisk())
			if err := l.append(2); err != nil {
				t.Fatal(err)
			}
			n := 0
			l.d.Fail(func(op disktest.Op) error {
				if op.Kind == kind {
					if n++; n > nth {
						return syscall.ENOSPC
					}
				}
				return nil
			})
			err := l.append(3)
			l.d.Fail(nil)
			if failed := kind == disktest.Write || nth == 0; errors.Is(err, syscall.ENOSPC) != failed {
				t.Fatalf("%s %d: %v", kind, nth, err)
			}
			if err := l.append(3); err != nil {
				t.Fatal(err)
			}
			want := []int64{1, 2, 3, 4, 5}
			for n := int64(6); n <= l.acked; n++ {
				want = append(want, n)
			}
			if got := openLog(t, l.d.copied()); !slices.Equal(got.rest(), want) {
				t.Errorf("%s %d: a later process does not read 1 to %d", kind, nth, l.acked)
			} else {
				got.undamaged()
			}
			if got := l.rest(); !slices.Equal(got, want) {
				t.Errorf("%s %d: %v are read, want %v", kind, nth, got, want)
			}
			l.outlived(l.d.crash(nil))
		}
	}
}

// A segment that cannot be begun is not there, and does not keep the next one from being begun, also if it
// could not be removed.
func TestFailedBegin(t *testing.T) {
	for _, stays := range []bool{false, true} {
		l := openLog(t, newDisk())
		l.d.Fail(func(op disktest.Op) error {
			if op.Kind == disktest.SyncDir || stays && op.Kind == disktest.Remove {
				return syscall.EIO
			}
			return nil
		})
		for range 2 {
			if err := l.append(1); !errors.Is(err, syscall.EIO) {
				t.Errorf("appended: %v", err)
			}
			if segments, _ := l.d.segmentFiles(t); (len(segments) > 0) != stays {
				t.Errorf("segments: %v", segments)
			}
		}
		l.d.Fail(nil)
		if err := l.append(1); err != nil {
			t.Error(err)
		}
		l.outlived(l.d.crash(nil))
	}
}

// What a crash has left of a record at the end is cut off, for good, kept, and logged as what it is.
func TestTornTail(t *testing.T) {
	for _, torn := range []int{1, record.Head, record.Head + 5} {
		l := openLog(t, newDisk())
		if err := l.append(2); err != nil {
			t.Fatal(err)
		}
		whole, err := l.d.Read(segmentName(1))
		if err != nil {
			t.Fatal(err)
		}
		ev := numbered(3)
		text := appendRecord(nil, &ev)
		d := l.d.copied()
		d.Put(segmentName(1), append(bytes.Clone(whole), text[:torn]...))
		next := openLog(t, d)
		if text, _ := d.Read(segmentName(1)); !bytes.Equal(text, whole) {
			t.Errorf("%d bytes, want the %d that are whole", len(text), len(whole))
		}
		if kept, err := d.Read(tailName); err != nil || !bytes.Equal(kept, text[:torn]) {
			t.Errorf("kept %q, %v", kept, err)
		}
		if told := next.told.String(); !strings.Contains(told, "is incomplete") || !strings.Contains(told, fmt.Sprintf("bytes=%d ", torn)) || strings.Contains(told, "could not be kept") {
			t.Errorf("logged %q", next.told)
		}
		next.acked = l.acked
		if err := next.append(2); err != nil {
			t.Fatal(err)
		}
		next.outlived(d.copied())
		next.outlived(d.crash(nil)) // it is no damage in the middle then, either
	}
}

// An end that cannot be kept is cut off all the same, and so it is logged.
func TestTornTailOnFullDisk(t *testing.T) {
	l := openLog(t, newDisk())
	if err := l.append(2); err != nil {
		t.Fatal(err)
	}
	d := l.d.copied()
	text, err := d.Read(segmentName(1))
	if err != nil {
		t.Fatal(err)
	}
	d.Put(segmentName(1), append(text, "torn"...))
	d.SetRoom(0)
	if next := openLog(t, d); !strings.Contains(next.told.String(), "could not be kept") {
		t.Errorf("logged %q", next.told)
	}
	l.outlived(d)
}

// What is left of a segment without a whole head is no segment.
func TestTornHead(t *testing.T) {
	d := newDisk()
	d.Put(segmentName(4), appendSegmentHead(nil, 4)[:segmentHead-1])
	l := openLog(t, d)
	if segments, _ := d.segmentFiles(t); len(segments) > 0 {
		t.Errorf("segments: %v", segments)
	}
	if err := l.append(2); err != nil {
		t.Fatal(err)
	}
	l.outlived(d.crash(nil))
}

// What was delivered before the process was killed is not delivered again by the next one.
func TestPositionIsKept(t *testing.T) {
	l := openLog(t, newDisk())
	for range 10 {
		if err := l.append(3); err != nil {
			t.Fatal(err)
		}
	}
	for l.had < l.acked {
		l.must(2)
		next := openLog(t, l.d.copied())
		if got := next.rest(); len(got) != int(l.acked-l.had) || len(got) > 0 && got[0] != l.had+1 {
			t.Fatalf("%d of %d are delivered; read again: %v", l.had, l.acked, got)
		}
	}
	if segments, _ := l.d.segmentFiles(t); len(segments) > 0 || l.log.total != 0 {
		t.Errorf("all is delivered: %v are left, %d bytes", segments, l.log.total)
	}
	if l.told.Len() > 0 {
		t.Errorf("logged %s", l.told)
	}
}

// A position of which a power cut has left a part is none: what it would skip may not be delivered.
func TestTornPosition(t *testing.T) {
	l := openLog(t, newDisk())
	for range 10 {
		if err := l.append(3); err != nil {
			t.Fatal(err)
		}
	}
	l.deliver(2)
	position := func(segment, offset uint64) []byte {
		b := binary.BigEndian.AppendUint64(nil, segment)
		b = binary.BigEndian.AppendUint64(b, offset)
		return binary.BigEndian.AppendUint32(b, record.Sum(b))
	}
	ahead := position(2, uint64(segmentHead))
	if d := l.d.copied(); true { // as it would be if it were whole
		d.Put(positionName, ahead)
		if got := openLog(t, d).rest(); got[0] <= l.had+1 {
			t.Fatalf("a position behind the delivered events begins with %d", got[0])
		}
	}
	old, err := l.d.Read(positionName)
	if err != nil {
		t.Fatal(err)
	}
	for n := 8; n < positionSize; n++ {
		for _, behind := range [][]byte{old[n:], nil, make([]byte, positionSize-n)} {
			torn := append(bytes.Clone(ahead[:n]), behind...)
			if !bytes.Equal(torn, ahead) {
				d := l.d.copied()
				d.Put(positionName, torn)
				l.outlived(d)
			}
		}
	}
}

// A position that names no place in the log skips nothing.
func TestForeignPosition(t *testing.T) {
	l := openLog(t, newDisk())
	for range 10 {
		if err := l.append(3); err != nil {
			t.Fatal(err)
		}
	}
	size := l.log.list[1].size
	for _, at := range []position{{0, 1 << 40}, {1, 0}, {1, int64(segmentHead) - 1}, {2, size + 1}, {2, 1 << 40}} {
		d := l.d.copied()
		next := openLog(t, d)
		next.log.delivered(position{1, int64(segmentHead)})
		b := binary.BigEndian.AppendUint64(nil, at.segment)
		b = binary.BigEndian.AppendUint64(b, uint64(at.offset))
		d.Put(positionName, binary.BigEndian.AppendUint32(b, record.Sum(b)))
		l.outlived(d)
	}
}

// The number of a segment is not used again after all was delivered: the position of then, which a power
// cut may bring back, would skip events.
func TestNumberIsNotUsedAgain(t *testing.T) {
	l := openLog(t, newDisk())
	if err := l.append(2); err != nil {
		t.Fatal(err)
	}
	for l.had < l.acked {
		l.must(9)
	}
	d := l.d.copied()
	next := openLog(t, d)
	next.acked, next.had = l.acked, l.had
	for range 3 {
		if err := next.append(2); err != nil {
			t.Fatal(err)
		}
	}
	next.outlived(d.crash(nil))
	next.outlived(d.copied())
}

// A segment that could not be removed is not delivered again, whatever has become of those behind it.
func TestSegmentThatStays(t *testing.T) {
	l := openLog(t, newDisk())
	for range 10 {
		if err := l.append(3); err != nil {
			t.Fatal(err)
		}
	}
	l.d.Fail(func(op disktest.Op) error {
		if op.Kind == disktest.Remove && op.Name == segmentName(1) {
			return syscall.EACCES
		}
		return nil
	})
	for l.had < l.acked {
		l.must(5)
	}
	if !strings.Contains(l.told.String(), "cannot be removed") {
		t.Errorf("logged %q", l.told)
	}
	l.d.Fail(nil)
	d := l.d.copied()
	next := openLog(t, d)
	if got := next.rest(); len(got) > 0 {
		t.Errorf("delivered again: %v", got)
	}
	next.acked, next.had = l.acked, l.had
	if err := next.append(2); err != nil {
		t.Fatal(err)
	}
	next.outlived(d.crash(nil))
	next.outlived(d.copied())
}
