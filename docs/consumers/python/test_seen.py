"""Holds Seen against the vectors that all languages share."""

import json
import pathlib
import unittest

from seen import Seen


class SeenTest(unittest.TestCase):
    def setUp(self):
        vectors = pathlib.Path(__file__).parent.parent / "testdata" / "seen.json"
        self.vectors = json.loads(vectors.read_text(encoding="utf-8"))

    def test_cases(self):
        self.assertGreater(len(self.vectors["cases"]), 9)
        for case in self.vectors["cases"]:
            with self.subTest(case["name"]):
                seen = Seen(case["start"], case["limit"])
                for op, *args in case["steps"]:
                    if op == "add":
                        seen.add(*args)
                    elif op == "adds":
                        session, first, last, step = args
                        for seq in range(first, last + 1, step):
                            seen.add(session, seq)
                    elif op == "has":
                        session, seq, want = args
                        self.assertIs(seen.has(session, seq), want, args)
                    elif op == "reload":
                        seen = Seen(str(seen), case["limit"])
                    else:
                        self.fail(f"unknown step {op}")
                self.assertEqual(str(seen), case["text"])

    def test_refused(self):
        self.assertGreater(len(self.vectors["refused"]), 9)
        for text in self.vectors["refused"]:
            with self.subTest(text), self.assertRaisesRegex(ValueError, "^seen: "):
                Seen(text)

    def test_without_a_name(self):
        seen = Seen()
        seen.add(None, None)
        seen.add("a", None)
        self.assertIs(seen.has("a", None), False)
        self.assertEqual(str(seen), str(Seen()))


if __name__ == "__main__":
    unittest.main()
