"""Which events of a shard have been processed."""

import bisect
import json
import re

DEFAULT_LIMIT = 8192
# Of a generation: a consumer that has been away may have many before it, in one stream after the other.
MAX_SESSIONS = 256
MAX_SEQ = 2**53 - 1  # the largest that every language has exactly


def _named(session, seq):
    """Whether an event has a name. Discord counts from 1."""
    return bool(session) and seq is not None and 0 < seq <= MAX_SEQ


class Seen:
    """Which events of one shard have been processed: an exact set of their sessions and seqs, in
    whatever order they come, from however many streams, queues and consumers. It is bounded: of
    seqs that follow one another a range is kept, and of ranges the last `limit` at most, at least
    the last half of that. What is forgotten counts as not processed: an event is rather processed
    again than lost.

    Its text, str(seen), belongs into the transaction that has the event's effect.

    Who owns the shard, which is told by its epoch once several gateways share a bot, makes no
    difference: a session's events keep their names whoever passes them on. Epochs is what tells
    owners apart."""

    def __init__(self, text="", limit=DEFAULT_LIMIT):
        """Reads what str() has written, in each of the languages; the empty text is that of a
        consumer that begins. A ValueError says that the text is something else: it must not be
        taken for that of one."""
        self._limit = limit
        # Two generations: by session, the ranges of its seqs as their firsts and their lasts, in
        # ascending order, none next to another. When the younger one is full, it becomes the
        # older, and that is dropped.
        self._young, self._old = {}, {}
        if text:
            try:
                value = json.loads(text)
                version = value.get("version") if isinstance(value, dict) else None
                if version != 1 or isinstance(version, bool):
                    raise ValueError(f"version {version} is none that is known")
                self._young, self._old = _parse(value["young"]), _parse(value["old"])
            except (KeyError, TypeError, ValueError) as error:
                raise ValueError(f"seen: {error}") from error
        self._ranges = sum(len(firsts) for firsts, _ in self._young.values())

    def has(self, session, seq) -> bool:
        """Whether the event has been processed, as far as is known. One without a session or a
        seq never has."""
        return _named(session, seq) and (_covers(self._young, session, seq) or _covers(self._old, session, seq))

    def add(self, session, seq) -> None:
        """Notes that the event has been processed. It does nothing if that is known."""
        if not _named(session, seq) or self.has(session, seq):
            return
        full = session not in self._young and len(self._young) >= MAX_SESSIONS
        if full or self._ranges >= (self._limit + 1) // 2:
            self._young, self._old, self._ranges = {}, self._young, 0
        firsts, lasts = self._young.setdefault(session, ([], []))
        at = bisect.bisect_right(firsts, seq)
        before = at > 0 and lasts[at - 1] == seq - 1
        after = at < len(firsts) and firsts[at] == seq + 1
        if before and after:
            del firsts[at], lasts[at - 1]
            self._ranges -= 1
        elif before:
            lasts[at - 1] = seq
        elif after:
            firsts[at] = seq
        else:
            firsts.insert(at, seq)
            lasts.insert(at, seq)
            self._ranges += 1

    def __str__(self):
        value = {"version": 1, "young": _format(self._young), "old": _format(self._old)}
        return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def _covers(generation, session, seq):
    if session not in generation:
        return False
    firsts, lasts = generation[session]
    at = bisect.bisect_right(firsts, seq)
    return at > 0 and lasts[at - 1] >= seq


def _format(generation):
    """For each session its ranges, such as "1-5,7"."""
    return [
        [session, ",".join(str(a) if a == b else f"{a}-{b}" for a, b in zip(firsts, lasts))]
        for session, (firsts, lasts) in generation.items()
    ]


_RANGE = re.compile(r"([1-9][0-9]{0,15})(?:-([1-9][0-9]{0,15}))?")


def _parse(pairs):
    generation = {}
    if not isinstance(pairs, list):
        raise ValueError("a generation is no list")
    for session, text in pairs:
        firsts, lasts = [], []
        for part in text.split(","):
            match = _RANGE.fullmatch(part)
            first = int(match[1]) if match else 0
            last = int(match[2] or match[1]) if match else 0
            if not 0 < first <= last <= MAX_SEQ or lasts and first <= lasts[-1] + 1:
                raise ValueError(f"{part[:40]!r} of session {session[:40]!r} is no range behind the one before")
            firsts.append(first)
            lasts.append(last)
        if not isinstance(session, str) or not session or session in generation:
            raise ValueError(f"session {session!r} is empty or stands twice")
        generation[session] = (firsts, lasts)
    return generation
