"""A worker of vmctl in Python: takes jobs from a work queue and says what becomes of them.

The contract is docs/writing-a-worker.md. What always holds here:

- A delivery is acknowledged after the broker has confirmed the message that answers it.
- Whoever has lost a delivery says nothing more about it: its redelivery decides.
- What a newer version has put into a command goes on into what follows from it.
- A handler may run twice for one command: the job's id is the key of everything that it makes.

One process does one job at a time; start more processes to do more.
"""

import hashlib
import json
import logging
import os
import random
import secrets
import signal
import socket
import threading
import time
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from typing import Any, Callable, Optional

import pika
import pika.exceptions
import redis

log = logging.getLogger("vmctl.worker")

TIERS = [("6h", 21600), ("1h", 3600), ("15m", 900), ("5m", 300),
         ("1m", 60), ("15s", 15), ("5s", 5), ("1s", 1)]
"""The delay queues of the broker, longest first, in seconds."""

MAX_BODY = 256 * 1024
"""Largest message, in bytes."""

TICK_SECONDS = 0.25
"""Least time between two progress messages of one job."""

SLICE_SECONDS = 600
"""Longest slice: below the broker's acknowledgement timeout, 30 minutes."""

MOST_REFUSALS = 5
"""How often in a row the broker may refuse a message before its delivery is given back."""

DRAIN_SECONDS = 25
"""How long a slice may go on after SIGTERM."""

CONFIRM_SECONDS = 10
"""How long the view is asked for a cancel that was heard."""

GRACE_SECONDS = 5
"""How long a handler may go on after it was told to stop."""

VIEW_BEFORE_SECONDS = 30
"""How long before `run_at` the view must be complete: until then a server may have ended the job."""

ASK_AGAIN_SECONDS = 15
"""When a view that is away or behind is asked again about a job that must not be entered blindly."""

STORE_SECONDS = 0.3
"""How long the view may take to answer before the work goes on without it."""

RUN_CLAIM_SECONDS = 3600
"""How long a run is remembered, so that a copy of its command is recognised."""

PRESENCE_SECONDS = 10
"""The longest time between two words about the worker itself; each comes up to a fifth sooner."""

VERSION = "1.0.0"
"""Of this program, for those who run the service."""

TERMINAL = {"succeeded", "failed", "cancelled"}


# What a handler answers.

@dataclass
class Done:
    """The job succeeded with this output."""
    output: Any


@dataclass
class Continue:
    """The job goes on in another slice of the same attempt."""
    checkpoint: Any
    after: float = 0.0


@dataclass
class Retry:
    """The attempt failed; the next one may succeed."""
    error_type: str
    title: str
    detail: Optional[str] = None
    after: Optional[float] = None


@dataclass
class Fail:
    """The job failed, and another attempt would fail as well."""
    error_type: str
    title: str
    detail: Optional[str] = None


class Cancelled:
    """The job was cancelled, and nothing of it is left."""


class Context:
    """One slice, as its handler sees it."""

    def __init__(self, command: dict):
        self._command = command
        self._progress = command["data"].get("progress")
        self.changed = threading.Event()
        self.stop = threading.Event()
        """Fires with each of the three below: what a wait observes."""
        self.cancelled = False
        """Somebody asked to cancel the job: clean up and answer `Cancelled`."""
        self.overdue = False
        """The deadline has passed: stop. What is answered does not matter, unless it is done."""
        self.ending: Optional["Retry"] = None
        """The attempt took too long, or gave no sign of life: stop. It has failed."""
        self.alive_at = time.monotonic()
        self.lost = False
        """The delivery is not ours any more: touch nothing. What is answered does not matter."""
        self.draining = False
        """The process is about to stop: answer `Continue` if that is possible."""
        self.reason: Optional[str] = None

    @property
    def job(self) -> dict:
        """The job as it was submitted."""
        return self._command["data"]["job"]

    @property
    def attempt(self) -> int:
        """The try inside the run, from 1."""
        return self._command["data"]["attempt"]

    @property
    def checkpoint(self) -> Any:
        """What the slice before left."""
        return self._command["data"].get("checkpoint")

    def progress(self, percent: int, step: str, message: Optional[str] = None) -> None:
        """Says how far the job is; it never goes back."""
        floor = self._progress["percent"] if self._progress else 0
        progress = {"percent": max(floor, min(100, percent)), "step": step, "at": timestamp(now())}
        if message is not None:
            progress["message"] = message
        self._progress = progress
        self.alive()
        self.changed.set()

    def alive(self) -> None:
        """A sign of life, for work that has nothing to report."""
        self.alive_at = time.monotonic()

    def wait(self, seconds: float) -> bool:
        """Waits; true when the slice is to stop instead."""
        return self.stop.wait(seconds)


Handler = Callable[[Context], Any]


class Malformed(Exception):
    """A message that is no command for this queue."""


class Refused(Exception):
    """The broker does not take what has to be said: another worker may be allowed to say it."""


class Worker:
    """Takes commands of one kind and runs a handler on them."""

    def __init__(self, kind: str, handler: Handler, policy: "Policy"):
        self.kind = kind
        self.handler = handler
        self.policy = policy
        self.name = f"python-{socket.gethostname()[:40]}-{secrets.token_hex(4)}"
        self.view = View(os.environ.get("VMCTL_REDIS_URL", "redis://127.0.0.1:6379/0"), self.name)
        self.stopping = threading.Event()
        self.started = now()

    def run(self) -> None:
        """Works until SIGTERM or SIGINT; comes back after every loss of the broker."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: self.stopping.set())
        url = os.environ.get("VMCTL_AMQP_URL", "amqp://127.0.0.1:5672/%2f").split(",")[0]
        parameters = pika.URLParameters(url)
        parameters.heartbeat = 20
        parameters.blocked_connection_timeout = 30
        parameters.socket_timeout = 10
        pause = 0.2
        while not self.stopping.is_set():
            try:
                Session(self, parameters).work()
                pause = 0.2
            except (pika.exceptions.AMQPError, OSError) as error:
                log.warning("no broker: %r", error)
                self.stopping.wait(pause * random.uniform(0.5, 1.0))
                pause = min(pause * 2, 5.0)


class Session:
    """What one connection to the broker carries."""

    def __init__(self, worker: Worker, parameters: pika.URLParameters):
        self.worker = worker
        self.connection = pika.BlockingConnection(parameters)
        self.channel = self.connection.channel()
        self.channel.confirm_delivery()
        self.channel.basic_qos(prefetch_count=1)
        self.context: Optional[Context] = None
        self.in_hand: Optional[tuple] = None
        self.speak_at = 0.0
        self.tag: Optional[str] = None
        self.said: tuple = ("", False)
        # When a cancel was heard; a control message may come before the command that it is about.
        self.wishes: dict = {}

    def work(self) -> None:
        """Takes one command after the other."""
        control = f"jobs.control.{self.worker.name}"
        self.channel.queue_declare(control, durable=True, arguments={
            "x-message-ttl": 30_000, "x-max-length": 10_000,
            "x-overflow": "drop-head", "x-expires": 60_000})
        self.channel.queue_bind(control, "jobs.control", "")
        self.channel.basic_consume(control, self.on_control, auto_ack=True)
        deliveries: list = []
        self.tag = self.channel.basic_consume(
            f"work.{self.worker.kind}",
            lambda _channel, method, properties, body: deliveries.append((method, properties, body)))
        log.info("taking %s as %s", self.worker.kind, self.worker.name)
        while not self.worker.stopping.is_set():
            self.connection.process_data_events(time_limit=0.2)
            self.speak()
            while deliveries and not self.worker.stopping.is_set():
                self.process(*deliveries.pop(0))
        self.channel.basic_cancel(self.tag)
        self.said = ("ended", False)
        self.say("ended")
        # What was delivered and not begun goes back with the connection.
        self.connection.close()

    def on_control(self, _channel, _method, _properties, body: bytes) -> None:
        try:
            control = json.loads(body)
            if control["type"] == "cancel":
                self.wishes[(control["job_id"], control["epoch"])] = time.monotonic()
                while len(self.wishes) > 10_000:
                    self.wishes.pop(next(iter(self.wishes)))
        except (ValueError, KeyError, TypeError):
            log.warning("ignored a control message that does not parse")

    def speak(self) -> None:
        """Says that the worker lives: every few seconds, and when what it consumes has changed."""
        state = "draining" if self.worker.stopping.is_set() else "working"
        # The broker takes a consumer away with its queue.
        consuming = self.tag in self.channel.consumer_tags
        if time.monotonic() < self.speak_at and (state, consuming) == self.said:
            return
        self.said = (state, consuming)
        self.speak_at = time.monotonic() + PRESENCE_SECONDS * random.uniform(0.8, 1.0)
        self.say(state)

    def say(self, state: str) -> None:
        jobs = []
        if self.in_hand:
            job, attempt, since, context = self.in_hand
            heard_at = now() - timedelta(seconds=time.monotonic() - context.alive_at)
            jobs.append({"id": job["id"], "kind": job["kind"], "project_id": job["auth"]["project_id"],
                         "attempt": attempt, "since": timestamp(since), "heard_at": timestamp(heard_at)})
        served = {"kind": self.worker.kind, "slots": 1, "in_hand": len(jobs), "consuming": self.said[1]}
        exchange, key, properties, body = presence({
            "name": self.worker.name, "app": "vmctl-python-worker", "version": VERSION, "language": "python",
            "started_at": timestamp(self.worker.started), "state": state, "kinds": [served], "jobs": jobs})
        self.channel.basic_publish(exchange, key, body, properties)

    def process(self, method, properties, body: bytes) -> None:
        """Takes one delivery to its settlement."""
        try:
            command = read(self.worker.kind, body)
        except Malformed as error:
            log.warning("rejected a message that is no command: %s", error)
            self.channel.basic_reject(method.delivery_tag, requeue=False)
            return
        try:
            Slice(self, command, method.redelivered).run()
        except Refused:
            # The delivery limit bounds how often; then the job fails where everybody sees it.
            self.channel.basic_nack(method.delivery_tag, requeue=True)
        else:
            self.channel.basic_ack(method.delivery_tag)

    def publish(self, event: dict) -> None:
        """Publishes until the broker has confirmed; raises when it is gone, or keeps refusing."""
        exchange, key, properties, body = message(event)
        pause, refusals = 0.1, 0
        while True:
            try:
                self.channel.basic_publish(exchange, key, body, properties, mandatory=exchange == "jobs")
                return
            except pika.exceptions.UnroutableError as error:
                refusals += 1
                if refusals == MOST_REFUSALS:
                    raise Refused(repr(error)) from error
            except pika.exceptions.NackError:
                refusals = 0
            log.warning("not confirmed, the same message is published again: %s", key)
            self.connection.sleep(pause * random.uniform(1.0, 1.2))
            pause = min(pause * 2, 5.0)


class Slice:
    """One run of one command."""

    def __init__(self, session: Session, command: dict, redelivered: bool):
        self.session = session
        self.worker = session.worker
        self.command = command
        self.data = command["data"]
        # What was put aside comes back as if it were new.
        self.redelivered = redelivered or self.data.get("redelivered", False)
        self.job = self.data["job"]

    def run(self) -> None:
        """Runs it; afterwards there is nothing left to do about this delivery."""
        record = self.worker.view.record(self.job["id"])
        ahead = seconds_ahead(self.command)
        if ahead >= 1 and self.wish(record) is None:
            self.put_aside()
            return
        if 0 < ahead < 1:
            self.session.connection.sleep(ahead)
        begun = self.may_have_begun(record)
        if parse(self.job["deadline"]) <= now():
            self.session.publish(self.deadline(begun))
            return
        if record is not None and overtaken(self.data, record):
            return
        cancel = self.wish(record)
        if cancel is not None and not begun:
            event = self.follow("cancelled", "cancelled")
            put(event["data"], "reason", cancel[0])
            self.session.publish(event)
            return
        if cancel is None and self.is_timed():
            entry = self.entry(record, begun)
            if entry == "too late":
                self.session.publish(self.start_deadline())
                return
            if entry == "not known":
                self.data["not_before"] = later(ASK_AGAIN_SECONDS)
                self.put_aside()
                return
        until = self.attempt_until(record) if cancel is None else None
        if until is not None and until <= now():
            self.session.publish(self.conclude(TOO_LONG, Context(self.command), None))
            return
        taken = record is not None and self.worker.view.run_is_taken(self.data, self.job["id"])
        if taken and not self.redelivered:
            return
        if self.opens_attempt() and not announced(self.data, record):
            event = self.follow("started", "running")
            event["data"]["command_seq"] = self.data["seq"]
            self.session.publish(event)
        self.work(cancel, until)

    def work(self, cancel: Optional[tuple], until: Optional[datetime]) -> None:
        """Runs the handler beside the connection, and publishes what came out."""
        context = Context(self.command)
        if cancel is not None:
            context.cancelled, context.reason = True, cancel[0]
            context.stop.set()
        ended: list = []

        def handle():
            try:
                ended.append(self.worker.handler(context))
            except Exception:
                log.exception("the handler of job %s failed", self.job["id"])
                ended.append(Retry("panic", "the worker failed unexpectedly", REMAINS))

        thread = threading.Thread(target=handle, daemon=True)
        thread.start()
        self.session.in_hand = (self.job, self.data["attempt"], now(), context)
        try:
            self.watch(context, thread, until)
        except (pika.exceptions.AMQPError, OSError):
            # Whoever gets the command again goes on; here nothing more is said about it.
            context.lost = True
            context.stop.set()
            thread.join(GRACE_SECONDS)
            if thread.is_alive():
                log.error("the handler of job %s does not stop", self.job["id"])
                os._exit(1)
            raise
        if thread.is_alive():
            # Nothing can stop a thread from outside; another process takes the command.
            log.error("the handler of job %s does not stop, the worker ends", self.job["id"])
            os._exit(1)
        outcome = ended[0]
        if context.ending is not None and not isinstance(outcome, (Done, Fail)):
            outcome = context.ending
        if context.overdue and not isinstance(outcome, Done):
            event = self.deadline(True)
        else:
            event = self.conclude(outcome, context, until)
        if context._progress is not None:
            event["data"]["progress"] = context._progress
        if len(json.dumps(event).encode()) > MAX_BODY:
            event = self.failed(Fail("outcome-too-large", "the job's outcome is too large to be told", REMAINS))
            event["data"].pop("progress", None)
        self.session.in_hand = None
        self.session.publish(event)
        log.info("job %s: %s", self.job["id"], event["type"])

    def watch(self, context: Context, thread: threading.Thread, until: Optional[datetime]) -> None:
        """Passes signals on and publishes progress until the handler has ended, or must have."""
        deadline = parse(self.job["deadline"])
        stall_after = self.job.get("stall_after")
        last_tick, ticks = 0.0, 0
        kill_at = time.monotonic() + SLICE_SECONDS
        while thread.is_alive() and time.monotonic() < kill_at:
            # Never longer than a tick: this also answers the broker's heartbeats.
            self.session.connection.process_data_events(time_limit=0)
            thread.join(0.05)
            self.session.speak()
            wish = self.confirmed_wish() if not context.cancelled else None
            if wish is not None:
                context.cancelled, context.reason = True, wish[0]
                context.stop.set()
            if not context.overdue and now() >= deadline:
                context.overdue = True
                context.stop.set()
                kill_at = min(kill_at, time.monotonic() + GRACE_SECONDS)
            if context.ending is None and until is not None and now() >= until:
                context.ending = TOO_LONG
            if context.ending is None and stall_after and time.monotonic() - context.alive_at > stall_after:
                context.ending = STALLED
            if context.ending is not None and not context.stop.is_set():
                context.stop.set()
                kill_at = min(kill_at, time.monotonic() + GRACE_SECONDS)
            if self.worker.stopping.is_set() and not context.draining:
                context.draining = True
                context.stop.set()
                kill_at = min(kill_at, time.monotonic() + DRAIN_SECONDS)
            if context.changed.is_set() and time.monotonic() - last_tick >= TICK_SECONDS:
                context.changed.clear()
                last_tick, ticks = time.monotonic(), ticks + 1
                self.tick(context, ticks)

    def tick(self, context: Context, number: int) -> None:
        event = self.follow("progress", "running")
        event["data"]["progress"] = context._progress
        event["data"]["tick"] = number
        self.session.publish(event)

    def opens_attempt(self) -> bool:
        return self.command["type"] != "jobs.continued.v1" or self.data["state"] != "running"

    def may_have_begun(self, record: Optional[dict]) -> bool:
        started = (record or {}).get("started")
        return bool(self.redelivered or (started and started["epoch"] == self.data["epoch"])
                    or self.data["attempt"] > 1 or self.data["seq"] > 0
                    or self.data.get("checkpoint") is not None)

    def is_timed(self) -> bool:
        """Says whether the job must not be entered without asking the view."""
        untouched = (self.data["attempt"], self.data["seq"]) == (1, 0) and self.data.get("checkpoint") is None
        start_by = self.job.get("start_by")
        return untouched and bool(self.job.get("run_at") or (start_by and parse(start_by) <= now()))

    def entry(self, record: Optional[dict], begun: bool) -> str:
        """Says whether a job that `is_timed` may be entered: "now", "too late" or "not known"."""
        if not (record or {}).get("winner"):
            return "not known"
        run_at, start_by = self.job.get("run_at"), self.job.get("start_by")
        if run_at:
            mark = self.worker.view.newest_mark(self.job["id"])
            if mark is None or mark + timedelta(seconds=VIEW_BEFORE_SECONDS) < parse(run_at):
                return "not known"
        if start_by and parse(start_by) <= now() and not begun:
            return "too late"
        return "now"

    def attempt_until(self, record: Optional[dict]) -> Optional[datetime]:
        """When the attempt must have ended: as an earlier slice has said, or counted from its start."""
        if self.data.get("attempt_until"):
            return parse(self.data["attempt_until"])
        limit = self.job.get("attempt_timeout")
        if not limit:
            return None
        started = announced(self.data, record) and record["winner"]["event_type"] == "jobs.started.v1"
        since = parse(record["winner"]["time"]) if started else now()
        return since + timedelta(seconds=limit)

    def confirmed_wish(self) -> Optional[tuple]:
        """A wish that was heard, once the view has it: anybody may have said it."""
        heard_at = self.session.wishes.get((self.job["id"], self.data["epoch"]))
        if heard_at is None or time.monotonic() > heard_at + CONFIRM_SECONDS:
            return None
        return self.wish(self.worker.view.record(self.job["id"]))

    def wish(self, record: Optional[dict]) -> Optional[tuple]:
        """A wish to cancel this run, with its reason."""
        stored = (record or {}).get("cancel")
        if stored and stored["epoch"] == self.data["epoch"]:
            return (stored.get("reason"),)
        return None

    def put_aside(self) -> None:
        """Publishes the command again, to come back when it is due."""
        if self.redelivered:
            self.data["redelivered"] = True
        self.session.publish(self.command)

    # The messages that follow from a command.

    def follow(self, word: str, state: str) -> dict:
        """A message that follows from the command, with all that a newer version has put there."""
        known = {"not_before", "redelivered", "attempt_until", "checkpoint", "tick", "lines", "output", "error",
                 "reason", "command_seq", "waits"}
        event = {key: value for key, value in self.command.items()}
        event.update(id=uuid7(), type=f"jobs.{word}.v1", source=f"/worker/{self.worker.name}",
                     time=timestamp(now()))
        event["data"] = {key: value for key, value in self.data.items() if key not in known}
        event["data"].update(state=state, worker=self.worker.name)
        return event

    def conclude(self, outcome: Any, context: Context, until: Optional[datetime]) -> dict:
        if isinstance(outcome, Done):
            event = self.follow("succeeded", "succeeded")
            event["data"]["output"] = outcome.output
        elif isinstance(outcome, Continue):
            event = self.follow("continued", "running")
            event["data"].update(seq=self.data["seq"] + 1, checkpoint=outcome.checkpoint)
            put(event["data"], "not_before", later(outcome.after))
            put(event["data"], "attempt_until", until and timestamp(until))
        elif isinstance(outcome, Retry) and self.data["attempt"] < self.job["max_attempts"]:
            attempt = self.data["attempt"] + 1
            wait = outcome.after
            if wait is None:
                wait = self.worker.policy.wait(self.job["id"], self.data["epoch"], attempt)
            event = self.follow("retry", "retrying")
            event["data"].update(attempt=attempt, seq=0, error=self.error(outcome, True))
            put(event["data"], "checkpoint", self.data.get("checkpoint"))
            put(event["data"], "not_before", later(wait))
        elif isinstance(outcome, (Retry, Fail)):
            event = self.failed(outcome)
        elif isinstance(outcome, Cancelled):
            event = self.follow("cancelled", "cancelled")
            put(event["data"], "reason", context.reason)
        else:
            event = self.failed(Fail("panic", "the worker failed unexpectedly", REMAINS))
        return event

    def failed(self, outcome: Any) -> dict:
        event = self.follow("failed", "failed")
        event["data"]["error"] = self.error(outcome, isinstance(outcome, Retry))
        put(event["data"], "checkpoint", self.data.get("checkpoint"))
        return event

    def deadline(self, begun: bool) -> dict:
        event = self.follow("deadline", "failed")
        detail = ("it was stopped by its deadline; what it has made, such as a machine, may remain" if begun
                  else "its deadline passed before a worker could start it")
        event["data"]["error"] = self.error(Fail("deadline", "the job's time is over", detail), True)
        return event

    def start_deadline(self) -> dict:
        event = self.follow("deadline", "failed")
        detail = "nothing was done; ask again, with more time to start or with more workers"
        late = Fail("start-deadline", "no worker started the job in time", detail)
        event["data"]["error"] = self.error(late, True)
        return event

    def error(self, outcome: Any, retryable: bool) -> dict:
        error = {"type": outcome.error_type, "title": outcome.title[:256], "retryable": retryable,
                 "attempt": self.data["attempt"], "worker": self.worker.name}
        put(error, "detail", outcome.detail and outcome.detail[:4096])
        return error


REMAINS = "what it has made, such as a machine, may remain"

TOO_LONG = Retry("attempt-timeout", "the attempt took longer than an attempt of this job may", REMAINS)

STALLED = Retry("stalled", "the worker gave no sign of life for too long and was stopped", REMAINS)


class Policy:
    """How long to wait before the next attempt: as the registry file of the kind says."""

    def __init__(self, backoff: list):
        self.backoff = backoff

    def wait(self, job: str, epoch: int, attempt: int) -> float:
        """Seconds before this attempt, and up to a fifth more: a share that is always the same for it."""
        least = self.backoff[min(attempt - 2, len(self.backoff) - 1)] if self.backoff else 1.0
        digest = hashlib.sha256(f"{job}:{epoch}:{attempt}".encode()).digest()
        return least * (1 + int.from_bytes(digest[:2], "big") / 65536 / 5)


class View:
    """What Redis knows of a job. Advisory: without it, work goes on."""

    def __init__(self, url: str, worker: str):
        self.worker = worker
        self.redis = redis.Redis.from_url(
            url, socket_timeout=STORE_SECONDS, socket_connect_timeout=STORE_SECONDS)

    def record(self, job: str) -> Optional[dict]:
        """The record as far as a worker needs it; empty when there is none, `None` without Redis."""
        try:
            fields = self.redis.hmget(f"{{{partition(job)}}}:job:{job}", "w", "c", "b", "t")
        except redis.RedisError:
            return None
        names = ("winner", "cancel", "started", "tick")
        return {name: json.loads(value) for name, value in zip(names, fields) if value}

    def newest_mark(self, job: str) -> Optional[datetime]:
        """The newest mark that the job's part of the view has passed: what was confirmed before it is there."""
        try:
            mark = self.redis.hget(f"{{{partition(job)}}}:position", "n")
        except redis.RedisError:
            return None
        return datetime.fromtimestamp(int(mark) / 1000, timezone.utc) if mark else None

    def run_is_taken(self, data: dict, job: str) -> bool:
        """Claims the run of a command; true when somebody has it."""
        key = f"{{{partition(job)}}}:run:{job}:{data['epoch']}:{data['attempt']}:{data['seq']}"
        try:
            return not self.redis.set(key, self.worker, nx=True, ex=RUN_CLAIM_SECONDS)
        except redis.RedisError:
            return False


def partition(job: str) -> str:
    """The part of the view that a job is in: FNV-1a of its 16 bytes, high byte, modulo 64."""
    hashed = 0xCBF29CE484222325
    for byte in bytes.fromhex(job.replace("-", "")):
        hashed = ((hashed ^ byte) * 0x100000001B3) & 0xFFFFFFFFFFFFFFFF
    return f"p{(hashed >> 56) % 64}"


def overtaken(data: dict, record: dict) -> bool:
    """Says whether a command that came after this one has been run by somebody, or the job ended."""
    winner = record.get("winner")
    if winner is None:
        return False
    if winner["epoch"] != data["epoch"]:
        return winner["epoch"] > data["epoch"]
    if winner["state"] in TERMINAL:
        return True
    here, there = (data["attempt"], data["seq"]), (winner["attempt"], winner["seq"])
    if winner["event_type"] == "jobs.started.v1":
        ran = there > here
    elif winner["attempt"] == data["attempt"]:
        ran = winner["seq"] > data["seq"] + 1
    elif winner["attempt"] == data["attempt"] + 1:
        ran = winner["seq"] > 0
    else:
        ran = winner["attempt"] > data["attempt"]
    tick = record.get("tick")
    return ran or bool(tick and (tick["epoch"], tick["attempt"]) == (data["epoch"], data["attempt"])
                       and tick["seq"] > data["seq"])


def announced(data: dict, record: Optional[dict]) -> bool:
    """Says whether the attempt has been said to run."""
    winner = (record or {}).get("winner")
    return bool(winner and winner["state"] == "running"
                and (winner["epoch"], winner["attempt"]) == (data["epoch"], data["attempt"]))


def read(kind: str, body: bytes) -> dict:
    """Reads a command; raises `Malformed` when it is none for this queue."""
    if len(body) > MAX_BODY:
        raise Malformed("it is too large")
    try:
        command = json.loads(body)
        data = command["data"]
        job = data["job"]
        if command["type"] not in {f"jobs.{w}.v1" for w in ("submitted", "retry", "continued", "redriven")}:
            raise Malformed(f"{command['type']} is no command of this version")
        if job["kind"] != kind or command["subject"] != job["id"]:
            raise Malformed("it is of another kind, or names two jobs")
        for number in (data["epoch"], data["attempt"], data["seq"], job["max_attempts"]):
            if not isinstance(number, int) or not 0 <= number <= 1 << 30:
                raise Malformed("a number is out of range")
        for instant in (job["deadline"], data.get("not_before"), data.get("attempt_until"),
                        job.get("run_at"), job.get("start_by")):
            if instant is not None:
                parse(instant)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise Malformed(f"it does not parse: {error!r}") from error
    return command


def message(event: dict) -> tuple:
    """Wraps a message for the bus: exchange, routing key, properties, body."""
    data, job = event["data"], event["data"]["job"]
    word = event["type"].split(".")[1]
    exchange, persistent = "jobs", True
    if word in ("submitted", "retry", "continued", "redriven"):
        key = f"job.{job['kind']}"
        ahead = seconds_ahead(event)
        tier = next((name for name, seconds in TIERS if seconds <= ahead), None)
        if tier:
            key = f"delay.{tier}.{key}"
    elif word == "failed":
        key = f"dead.{job['kind']}"
    elif word == "progress":
        exchange, persistent, key = "jobs.tick", False, f"tick.{job['kind']}.progress"
    else:
        key = f"event.{job['kind']}.{word}"
    headers = {"schema": "jobs/1", "kind": job["kind"], "project": job["auth"]["project_id"],
               "state": data["state"], "epoch": data["epoch"], "attempt": data["attempt"], "seq": data["seq"],
               "deadline": int(parse(job["deadline"]).timestamp() * 1000)}
    put(headers, "traceparent", event.get("traceparent"))
    properties = pika.BasicProperties(
        content_type="application/cloudevents+json", delivery_mode=2 if persistent else 1,
        message_id=event["id"], correlation_id=job["id"], type=event["type"],
        timestamp=int(parse(event["time"]).timestamp()), headers=headers)
    return exchange, key, properties, json.dumps(event).encode()


def presence(data: dict) -> tuple:
    """Wraps what a worker says of itself: exchange, routing key, properties, body."""
    event = {"specversion": "1.0", "id": uuid7(), "type": "jobs.worker.v1", "source": f"/worker/{data['name']}",
             "time": timestamp(now()), "datacontenttype": "application/json", "data": data}
    properties = pika.BasicProperties(
        content_type="application/cloudevents+json", delivery_mode=1, message_id=event["id"],
        type=event["type"], timestamp=int(parse(event["time"]).timestamp()), headers={"schema": "jobs/1"})
    return "jobs.tick", "tick.worker.alive", properties, json.dumps(event).encode()


def seconds_ahead(command: dict) -> float:
    """How long it is until a command is due: never after its deadline, nor after the end of its attempt."""
    data = command["data"]
    if not data.get("not_before"):
        return 0
    ends = [data["job"]["deadline"], data.get("attempt_until")]
    due = min(parse(text) for text in [data["not_before"], *ends] if text)
    return (due - now()).total_seconds()


def put(into: dict, name: str, value: Any) -> None:
    """Sets what there is; leaves out what there is not."""
    if value is not None:
        into[name] = value


def now() -> datetime:
    return datetime.now(timezone.utc)


def later(seconds: float) -> Optional[str]:
    return timestamp(now() + timedelta(seconds=seconds)) if seconds > 0 else None


def timestamp(at: datetime) -> str:
    """RFC 3339, in UTC, to the millisecond like every time of a job."""
    return at.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def parse(text: str) -> datetime:
    """Reads RFC 3339; digits beyond microseconds are dropped."""
    at = datetime.fromisoformat(text)
    if at.tzinfo is None:
        raise ValueError(f"{text} has no offset")
    return at


def uuid7() -> str:
    """RFC 9562, section 5.7."""
    milliseconds = time.time_ns() // 1_000_000
    value = (milliseconds << 80) | (0x7 << 76) | (secrets.randbits(12) << 64) | (0b10 << 62) | secrets.randbits(62)
    text = f"{value:032x}"
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"
