"""Holds the journal against the vectors of events of former owners that all languages share."""

import json
import pathlib
import sys
import tempfile
import types
import unittest

sys.modules.setdefault("msgpack", types.ModuleType("msgpack"))  # which the journal does not need

from event import Event, Journal  # noqa: E402


class EpochsTest(unittest.TestCase):
    def test_cases(self):
        vectors = pathlib.Path(__file__).parent.parent / "testdata" / "epochs.json"
        cases = json.loads(vectors.read_text(encoding="utf-8"))["cases"]
        self.assertGreater(len(cases), 9)
        worked = []

        class Work(Event):
            def work(self):
                worked.append(self.seq)

        for case in cases:
            with self.subTest(case["name"]), tempfile.TemporaryDirectory() as folder:
                name = str(pathlib.Path(folder) / "journal")
                journal = Journal(name)
                for step in case["steps"]:
                    if step == ["reopen"]:
                        journal = Journal(name)
                        continue
                    queue, shard, epoch, redelivered, session, seq, want = step
                    worked.clear()
                    journal.process([Work("A", b"{}", shard, session, seq, queue, epoch, redelivered)])
                    self.assertEqual(worked, [seq] if want else [], step)


if __name__ == "__main__":
    unittest.main()
