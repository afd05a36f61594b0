"""NATS subjects. Worker W publishes below `w.W.up` and listens below `w.W.down`: the subject is its identity.

A worker's NATS name is its name in the registry: letters, digits, `-` and `_`, so that it is one subject token.
"""

import re
from typing import Final

WORKER_NAME: Final = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_-]{0,62}")

CHANGED: Final = "core.changed"  # Changed: jobs ended, or were changed by the API; may tell of those that began, too
SUBMITTED: Final = "core.submitted"  # Changed: jobs are new
BEGUN: Final = "core.begun"  # Changed: jobs began, and none ended with them
WORKERS_CHANGED: Final = "core.workers"  # WorkersChanged
LIMITS_CHANGED: Final = "core.limits"  # no content: limits of queues or users were changed
ASK: Final = "core.ask"  # Ask (request): why does this job wait, where would that one start
JOURNAL: Final = "core.journal"  # live tail of system log records
LOGS_STORED: Final = "core.stored"  # prefix: core.stored.<job id>: new output is in PostgreSQL

ENROLL: Final = "enroll"  # Enroll (request): a machine without a key
ALL_JOINS: Final = "w.*.up.join"
ALL_PULSES: Final = "w.*.up.pulse"
ALL_REPORTS: Final = "w.*.up.reports"
ALL_LOGS: Final = "w.*.up.logs"
ALL_RECEIPTS: Final = "w.*.up.receipt"


def inbox(worker: str) -> str:
    """The prefix of the subjects on which a worker hears answers; no other worker may listen there."""
    return f"_INBOX_{worker}"


def up(worker: str, kind: str) -> str:
    return f"w.{worker}.up.{kind}"


def orders(worker: str) -> str:
    return f"w.{worker}.down.orders"


def unheard(epoch: int, worker_id: int | str, seq: int | str) -> str:
    """Where NATS says that an order message reached nobody. Workers do not answer there: receipts have a subject."""
    return f"_INBOX.orders.{epoch}.{worker_id}.{seq}"


def stored(job_id: int) -> str:
    return f"{LOGS_STORED}.{job_id}"


def worker_of(subject: str) -> str:
    """Return the worker's name from `w.<name>.up.<kind>`."""
    return subject.split(".", 2)[1]
