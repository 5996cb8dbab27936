"""Holds the journal against work that fails."""

import json
import pathlib
import sys
import tempfile
import types
import unittest

sys.modules.setdefault("msgpack", types.ModuleType("msgpack"))  # which the journal does not need

from event import Event, Journal  # noqa: E402


class JournalTest(unittest.TestCase):
    def test_work_that_fails(self):
        """The broker delivers the events again to the same process: each is noted, and worked on once."""
        worked, fails = [], [2]

        class Work(Event):
            def work(self):
                if self.seq in fails:
                    raise ConnectionResetError("the database is away")
                worked.append(self.seq)

        with tempfile.TemporaryDirectory() as folder:
            name = str(pathlib.Path(folder) / "journal")
            events = [Work("A", b"{}", 0, "s", seq) for seq in (1, 2, 3)]
            journal = Journal(name)
            with self.assertRaises(ConnectionResetError):
                journal.process(events)
            fails.clear()
            journal.process(events)
            lines = pathlib.Path(name).read_text(encoding="utf-8").splitlines()
            done = [seq for line in lines for _, _, _, seq in json.loads(line)["done"]]
            self.assertEqual(done, [1, 2, 3])
            self.assertEqual(worked, [1, 2, 3])
            Journal(name).process(events)
            self.assertEqual(worked, [1, 2, 3])

    def test_names_of_others(self):
        """A message of somebody else, with fields or headers that are none of the gateway's, is an event without a name."""
        for shard, session, seq in ((b"x", "s", b"7"), (0, "s", "seven"), ([], 5, {}), (None, None, None)):
            with self.subTest((shard, session, seq)):
                event = Event("A", b"{}", shard, session, seq)
                self.assertIsInstance(event.session, str)
                self.assertIsInstance(event.shard, int)
                self.assertIsInstance(event.seq, int)


if __name__ == "__main__":
    unittest.main()
