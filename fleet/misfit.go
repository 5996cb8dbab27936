// This file compares plans.

package fleet

import "strconv"

// Misfit returns in what a plan differs from that of a member which runs, as a *MisfitError, or nil.
func Misfit(ours, theirs Plan, member string) error {
	switch {
	case ours.Shards != theirs.Shards:
		return &MisfitError{Setting: "shard count", Ours: strconv.Itoa(ours.Shards), Theirs: strconv.Itoa(theirs.Shards), Member: member}
	case ours.Intents != theirs.Intents:
		return &MisfitError{Setting: "intents", Ours: strconv.FormatUint(ours.Intents, 10), Theirs: strconv.FormatUint(theirs.Intents, 10), Member: member}
	case ours.Format != theirs.Format:
		return &MisfitError{Setting: "format", Ours: ours.Format, Theirs: theirs.Format, Member: member}
	}
	return nil
}
