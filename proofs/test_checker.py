"""The checker finds each anomaly in a history made by hand, and nothing in a good one."""

import sys
import unittest
from dataclasses import replace
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))

from checker import check
from history import Answer, History, Sent

ACKNOWLEDGED = Sent("a", ("first", "second"), Answer.ACKNOWLEDGED)
DELAYED = Sent("d", ("first",), Answer.ACKNOWLEDGED, deliver_at=100.0)


def good() -> History:
    """One of each that is as it should be."""
    return History(
        sent=[
            ACKNOWLEDGED,
            DELAYED,
            Sent("u", ("first",), Answer.UNKNOWN),
            Sent("v", ("first",), Answer.UNKNOWN),
            Sent("r", ("first",), Answer.REFUSED),
            Sent("p", ("first", "second"), Answer.ACKNOWLEDGED),
            Sent("q", ("first", "second"), Answer.ACKNOWLEDGED),
            *(Sent(f"k{n}", ("ordered",), Answer.ACKNOWLEDGED, key="k", number=n) for n in range(3)),
        ],
        effects={
            ("first", "a"): 1, ("second", "a"): 1, ("first", "d"): 1, ("first", "u"): 1, ("first", "q"): 1,
            ("ordered", "k0"): 1, ("ordered", "k2"): 1,
        },
        letters={("first", "p"), ("second", "q"), ("ordered", "k1")},
        orders={"k": [0, 2]},
        delivered={"d": 100.0},
    )  # fmt: skip


class Checker(unittest.TestCase):
    def found(self, history: History) -> list[tuple[str, str]]:
        return [(anomaly.kind, anomaly.id) for anomaly in check(history)]

    def test_a_good_history_has_none(self):
        self.assertEqual(self.found(good()), [])

    def test_an_acknowledged_event_without_effect_or_dead_letter_is_lost(self):
        history = good()
        history.letters.remove(("first", "p"))
        self.assertEqual(self.found(history), [("lost", "p")])

    def test_a_follow_up_is_lost_when_its_cause_took_effect(self):
        history = good()
        del history.effects["second", "a"]
        self.assertEqual(self.found(history), [("lost", "a")])

    def test_what_is_unknown_and_took_effect_owes_its_follow_up(self):
        history = good()
        history.sent[2] = replace(history.sent[2], steps=("first", "second"))
        self.assertEqual(self.found(history), [("lost", "u")])

    def test_what_is_unknown_may_have_happened_or_not(self):
        history = good()
        history.effects["first", "v"] = 1
        self.assertEqual(self.found(history), [])

    def test_an_effect_nobody_sent_is_a_phantom(self):
        history = good()
        history.effects["first", "z"] = 1
        self.assertEqual(self.found(history), [("phantom", "z")])

    def test_an_effect_of_what_was_refused_is_a_phantom(self):
        history = good()
        history.effects["first", "r"] = 1
        self.assertEqual(self.found(history), [("phantom", "r")])

    def test_a_follow_up_of_a_failed_attempt_is_a_phantom(self):
        history = good()
        history.effects["second", "p"] = 1
        self.assertEqual(self.found(history), [("phantom", "p")])

    def test_an_effect_of_a_function_that_was_not_asked_is_a_phantom(self):
        history = good()
        history.effects["ordered", "a"] = 1
        self.assertEqual(self.found(history), [("phantom", "a")])

    def test_an_effect_made_twice_is_a_duplicate(self):
        history = good()
        history.effects["second", "a"] = 2
        self.assertEqual(self.found(history), [("duplicate", "a")])

    def test_an_effect_beside_a_dead_letter_is_a_duplicate(self):
        history = good()
        history.letters.add(("first", "u"))
        self.assertEqual(self.found(history), [("duplicate", "u")])

    def test_effects_of_a_key_out_of_order_are_found(self):
        history = good()
        history.orders["k"] = [2, 0]
        self.assertEqual(self.found(history), [("disorder", "k")])

    def test_a_number_of_a_key_twice_is_out_of_order(self):
        history = good()
        history.orders["k"] = [0, 0, 2]
        self.assertEqual(self.found(history), [("disorder", "k")])

    def test_a_delivery_before_its_time_is_early(self):
        history = good()
        history.delivered["d"] = 99.9
        self.assertEqual(self.found(history), [("early", "d")])


if __name__ == "__main__":
    unittest.main()
