// This file tests the store of sessions where no file can be written.

package cli

import (
	"bytes"
	"errors"
	"log/slog"
	"strings"
	"testing"
)

// Where no file can be written the gateway runs without, unless the settings ask for one.
func TestStoreThatCannotBeWritten(t *testing.T) {
	t.Chdir("/sys") // root cannot make a directory there, either
	var text bytes.Buffer
	log := slog.New(slog.NewTextHandler(&text, nil))
	s, err := openStore(settings(t), log)
	if err != nil || s != nil || !strings.Contains(text.String(), "no file can be written here") {
		t.Errorf("%T, %v, logged %q", s, err, &text)
	}
	for _, set := range []string{"SHARD_STORE_TYPE=file", "SHARD_STORE_DIRECTORY=state"} {
		if s, err := openStore(settings(t, set), log); !errors.As(err, new(settingError)) || !strings.HasPrefix(err.Error(), "shard_store.directory: ") {
			t.Errorf("%s: %T, %v", set, s, err)
		}
	}
}
