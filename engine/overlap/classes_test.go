package overlap

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"sluice/sinks"
)

// A class is compared from Compare to Leave. Before and after that the older generation goes out, and the next one does not; and nothing
// of it counts.
func TestClasses(t *testing.T) {
	inner := &slow{}
	f := New(inner)
	f.Begin(Options{Next: 1, Classes: 2})
	noted := func(kept, ahead int) {
		t.Helper()
		if s := f.Status(); s.Kept != kept || s.Ahead != ahead || s.Older+s.Next > 0 {
			t.Fatalf("%+v, want %d kept and %d ahead", s, kept, ahead)
		}
	}
	give(t, f, inner, event(0, 0, 1, "a"), event(1, 2, 1, "x"), event(0, 1, 1, "b"), event(1, 3, 1, "y"))
	noted(0, 0)
	f.Compare(2)
	give(t, f, inner, event(0, 0, 2, "c"), event(1, 2, 2, "d"), event(0, 1, 2, "e"), event(1, 3, 2, "z"))
	noted(1, 1)
	f.Compare(1)
	give(t, f, inner, event(0, 1, 3, "f"), event(1, 5, 3, "g"), event(1, 3, 3, "h"))
	noted(3, 2)
	f.Leave(0)
	noted(2, 1)
	if _, _, ok := f.First(1, 2, "s2"); ok {
		t.Fatal("an event of a class that has gone is kept")
	}
	if f.Met() {
		t.Fatal("what the other class has shown is forgotten")
	}
	f.Forget(0, 5) // of the older one nothing is kept
	noted(2, 1)
	f.Forget(1, 5)
	noted(1, 1)
	f.Compare(0)
	give(t, f, inner, event(0, 0, 3, "d"), event(1, 2, 3, "d"), event(1, 0, 3, "i"))
	f.Leave(0)
	f.Stop()
	if err := f.Open(t.Context()); err != nil {
		t.Fatal(err)
	}
	give(t, f, inner, event(1, 2, 4, "j"), event(1, 3, 4, "f"), event(1, 3, 5, "k"))
	if got := strings.Join(inner.out, " "); got != "a b c e f d h j k" {
		t.Fatalf("went out: %s", got)
	}
	if !f.End() {
		t.Fatal("something of a class that has gone is waited for")
	}
}

// What two classes have alike are two events.
func TestClassesAlike(t *testing.T) {
	inner := &slow{}
	f := New(inner)
	f.Begin(Options{Next: 1, Classes: 2})
	f.Compare(0)
	f.Compare(1)
	give(t, f, inner, event(0, 0, 1, "a"), event(1, 1, 1, "a"))
	if s := f.Status(); s.Agreed != 0 || s.Kept != 1 || s.Ahead != 1 {
		t.Fatalf("%+v", s)
	}
	give(t, f, inner, event(1, 2, 1, "a"), event(0, 3, 1, "a"))
	if s := f.Status(); s.Agreed != 2 || s.Kept != 0 || s.Ahead != 0 {
		t.Fatalf("%+v", s)
	}
}

// After Seal what finds no room waits, for Open, Resume or the end of ctx.
func TestSeal(t *testing.T) {
	for _, how := range []string{"open", "resume", "end"} {
		t.Run(how, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				inner := &slow{}
				f := New(inner)
				f.Begin(Options{Next: 1, Events: 4})
				f.Stop()
				f.Seal()
				batch := func(n int) (events []sinks.Event) {
					for i := range 2 {
						events = append(events, event(1, 0, int64(n+i), fmt.Sprint(n+i)))
					}
					return events
				}
				give(t, f, inner, batch(1)...)
				ctx, cancel := context.WithCancel(t.Context())
				done := make(chan error, 1)
				go func() {
					for _, n := range []int{3, 5, 7} {
						if err := f.Publish(ctx, batch(n), func(int) {}); err != nil {
							done <- err
							return
						}
					}
					done <- nil
				}()
				synctest.Wait()
				if s := f.Status(); s.Kept != 4 || s.Forgone > 0 || f.Overflowed() {
					t.Fatalf("%+v", s)
				}
				want, out := error(nil), "1 2 3 4 5 6 7 8"
				switch how {
				case "open":
					if err := f.Open(ctx); err != nil {
						t.Fatal(err)
					}
				case "resume":
					f.Resume()
					out = ""
				case "end":
					cancel()
					want, out = context.Canceled, ""
				}
				if err := <-done; !errors.Is(err, want) {
					t.Fatal(err)
				}
				if got := strings.Join(inner.out, " "); got != out {
					t.Fatalf("went out: %s", got)
				}
				cancel()
			})
		})
	}
}

// The guilds with which a session begins are not what the next generation alone has shown; one that comes later is.
func TestGuildsOfReady(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		inner := &slow{}
		f := New(inner)
		f.Begin(Options{Next: 1})
		time.Sleep(time.Second)
		named := func(generation int32, name, data string) sinks.Event {
			ev := event(generation, 3, 1, data)
			ev.Type = []byte(name)
			return ev
		}
		give(t, f, inner, named(1, "GUILD_CREATE", "before"))
		if s := f.Status(); s.Kept != 1 {
			t.Fatalf("%+v", s)
		}
		give(t, f, inner, named(1, "READY", "r"))
		for i := range 3 {
			time.Sleep(8 * time.Second)
			give(t, f, inner, named(1, "GUILD_CREATE", fmt.Sprint("guild ", i)), named(0, "GUILD_CREATE", fmt.Sprint("joined ", i)), named(1, "GUILD_CREATE", fmt.Sprint("joined ", i)))
		}
		if s := f.Status(); s.Kept != 0 || s.Ahead != 0 || s.Next != 1 || s.Agreed != 3 {
			t.Fatalf("%+v", s)
		}
		time.Sleep(11 * time.Second)
		give(t, f, inner, named(1, "GUILD_CREATE", "later"), named(1, "GUILD_CREATE", "and later"))
		if s := f.Status(); s.Kept != 2 {
			t.Fatalf("%+v", s)
		}
	})
}
