"""What the worker writes, held to the example messages of the contract."""

import json
import pathlib
import types
import unittest
from datetime import timedelta

import vmctl_worker as w

MESSAGES = pathlib.Path(__file__).resolve().parents[2] / "docs" / "messages"
JOB = "0198f2a4-7c1e-7a00-8abc-1f2e3d4c5b6a"


def example(name):
    return json.loads((MESSAGES / f"{name}.json").read_text())


class Contract(unittest.TestCase):
    def test_messages_are_wrapped_as_in_the_examples(self):
        for name in ("started", "succeeded", "failed", "cancelled", "deadline", "continued", "progress"):
            with self.subTest(name):
                file = example(name)
                exchange, key, properties, body = w.message(file["body"])
                self.assertEqual((exchange, key), (file["exchange"], file["routing_key"]))
                for field, value in file["properties"].items():
                    self.assertEqual(getattr(properties, field), value, field)
                self.assertEqual(properties.headers, file["headers"])
                self.assertEqual(json.loads(body), file["body"])

    def test_presence_is_wrapped_as_in_the_example(self):
        file = example("worker")
        exchange, key, properties, body = w.presence(file["body"]["data"])
        self.assertEqual((exchange, key), (file["exchange"], file["routing_key"]))
        for field in ("content_type", "delivery_mode", "type"):
            self.assertEqual(getattr(properties, field), file["properties"][field], field)
        self.assertEqual(properties.headers, file["headers"])
        written = json.loads(body)
        for field in ("id", "time"):
            self.assertNotEqual(written[field], file["body"][field])
            written[field] = file["body"][field]
        self.assertEqual(written, file["body"])

    def test_commands_are_read(self):
        for name in ("submitted", "retry", "continued", "redriven"):
            command = example(name)["body"]
            self.assertEqual(w.read("vm.create", json.dumps(command).encode()), command)

    def test_what_is_no_command_is_refused(self):
        good = example("submitted")["body"]

        def but(**changes):
            return json.dumps({**good, **changes}).encode()

        bad = [b"not JSON", b"[]", but(type="jobs.submitted.v2"), but(type="jobs.started.v1"),
               but(subject="0198f2a4-7c1e-7a00-8abc-000000000000"), but(data={}),
               but(data={**good["data"], "attempt": -1}), but(data={**good["data"], "not_before": "soon"}),
               b" " * (w.MAX_BODY + 1)]
        for body in bad:
            with self.assertRaises(w.Malformed):
                w.read("vm.create", body)
        with self.assertRaises(w.Malformed):
            w.read("report.build", but())

    def test_a_delay_takes_the_longest_tier_that_is_not_too_long(self):
        for seconds, tier in ((1.5, "1s"), (6, "5s"), (61, "1m"), (30_000, "6h")):
            command = example("continued")["body"]
            command["data"]["job"]["deadline"] = w.later(100_000)
            command["data"]["not_before"] = w.later(seconds)
            self.assertEqual(w.message(command)[1], f"delay.{tier}.job.vm.create")

    def test_a_command_is_overtaken_by_what_a_later_one_has_done(self):
        data = {"epoch": 1, "attempt": 2, "seq": 3}
        for word, epoch, attempt, seq, state, expected in (
            ("submitted", 1, 1, 0, "queued", False), ("continued", 1, 2, 3, "running", False),
            ("continued", 1, 2, 4, "running", False), ("retry", 1, 3, 0, "retrying", False),
            ("continued", 1, 2, 5, "running", True), ("started", 1, 3, 0, "running", True),
            ("continued", 1, 3, 1, "running", True), ("retry", 1, 4, 0, "retrying", True),
            ("succeeded", 1, 2, 3, "succeeded", True), ("succeeded", 0, 2, 3, "succeeded", False),
            ("redriven", 2, 1, 0, "queued", True),
        ):
            winner = {"event_type": f"jobs.{word}.v1", "epoch": epoch, "attempt": attempt,
                      "seq": seq, "state": state}
            self.assertEqual(w.overtaken(data, {"winner": winner}), expected, word)
        self.assertFalse(w.overtaken(data, {}))

    def slice(self, view, **job):
        command = example("submitted")["body"]
        command["data"]["job"].update(job)
        worker = types.SimpleNamespace(view=view, name="python-test")
        session = types.SimpleNamespace(worker=worker, wishes={})
        return w.Slice(session, command, redelivered=False)

    def test_a_scheduled_job_is_entered_only_with_a_view_that_is_far_enough(self):
        run_at = w.now()
        for seconds, winner, expected in ((-31, {"epoch": 0}, "not known"), (-29, {"epoch": 0}, "now"),
                                          (None, {"epoch": 0}, "not known"), (0, None, "not known")):
            mark = None if seconds is None else run_at + timedelta(seconds=seconds)
            view = types.SimpleNamespace(newest_mark=lambda _job, mark=mark: mark)
            scheduled = self.slice(view, run_at=w.timestamp(run_at))
            self.assertTrue(scheduled.is_timed())
            self.assertEqual(scheduled.entry({"winner": winner} if winner else {}, False), expected)

    def test_a_job_that_had_to_be_started_before_is_too_late_unless_it_has_begun(self):
        late = self.slice(None, start_by=w.timestamp(w.now() - timedelta(seconds=1)))
        self.assertTrue(late.is_timed())
        self.assertEqual(late.entry({"winner": {"epoch": 0}}, False), "too late")
        self.assertEqual(late.entry({"winner": {"epoch": 0}}, True), "now")
        self.assertEqual(late.entry(None, False), "not known")
        self.assertFalse(self.slice(None).is_timed())

    def test_an_attempt_counts_from_its_start_over_all_slices(self):
        limited = self.slice(None, attempt_timeout=60)
        began = w.parse(w.timestamp(w.now() - timedelta(seconds=50)))
        winner = {"event_type": "jobs.started.v1", "state": "running", "epoch": 0, "attempt": 1,
                  "time": w.timestamp(began)}
        self.assertEqual(limited.attempt_until({"winner": winner}), began + timedelta(seconds=60))
        self.assertGreater(limited.attempt_until(None), began + timedelta(seconds=100))
        until = w.timestamp(began)
        limited.data["attempt_until"] = until
        self.assertEqual(limited.attempt_until({"winner": winner}), w.parse(until))

    def test_the_partition_of_a_job_never_changes(self):
        self.assertEqual(w.partition(JOB), "p4")

    def test_the_wait_grows_by_a_fifth_at_most_and_is_always_the_same(self):
        policy = w.Policy([1.0, 5.0])
        for attempt, least in ((2, 1.0), (3, 5.0), (4, 5.0)):
            wait = policy.wait(JOB, 0, attempt)
            self.assertEqual(wait, policy.wait(JOB, 0, attempt))
            self.assertTrue(least <= wait <= least * 1.2, wait)

    def test_times_have_an_offset(self):
        self.assertEqual(w.timestamp(w.parse("2026-11-18T11:07:46.123456789Z")), "2026-11-18T11:07:46.123Z")
        with self.assertRaises(ValueError):
            w.parse("2026-11-18T11:07:46")


if __name__ == "__main__":
    unittest.main()
