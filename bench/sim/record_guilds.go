// This file makes recordings of guild streams.

package sim

import "sluice/wire"

// RecordGuilds makes a recording of n GUILD_CREATE events of about size bytes each,
// for connections with that compress parameter. It stands in for the guild
// stream where making and compressing one for each session would cost more
// than receiving it.
func RecordGuilds(n, size int, compress string) (*Recording, error) {
	r := &Recording{compress: compress}
	check, err := newSegmentChecker(compress)
	if err != nil {
		return nil, err
	}
	srv := &Server{opt: Options{}.withDefaults()}
	for g := range n {
		d := srv.appendGuild(nil, g, wire.UnprivilegedIntents, size)
		r.types = append(r.types, "GUILD_CREATE")
		r.hashes = append(r.hashes, Hash(d))
		// A segment each: one is checked by decoding all of it.
		if err := r.add([][]byte{appendDispatch(nil, "GUILD_CREATE", int64(g+2), d)}, check); err != nil {
			return nil, err
		}
	}
	return r, nil
}
