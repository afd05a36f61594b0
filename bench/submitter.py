"""The client of the scenarios that break things: it submits at a steady rate and believes only what it was told.

Each request is noted on disk before it is made, each answer before it is relied on (`judge.Ledger`). Where Core does
not answer it asks again, with the same idempotency key, as a user's client does; of several Cores it asks the next.
"""

import random
import threading
import time
from collections.abc import Callable, Sequence
from itertools import count
from pathlib import Path
from typing import Any, Final

from bench.harness import wait_until
from bench.judge import SCRIPT, Ledger, Promise
from bench.results import Say
from swarmsync.client import Client
from swarmsync.errors import SwarmError

PATIENCE_S: Final = 60.0
PROBE_S: Final = 90.0
BATCH: Final = 4
INSIDE: Final = "/judge"
PAUSE_S: Final = 0.05
#: A machine that cannot keep up would have new jobs wait for old ones, and not for what was broken.
OPEN_MAX: Final = 64


class Submitter:
    """`name` is that of its jobs. The calls with `clients` may come from several threads, with clients of their own.

    With `image` the jobs are containers of it, which see the directory as `INSIDE`; without, plain processes.
    """

    def __init__(
        self, directory: Path, name: str, seed: int, rate_per_s: float, say: Say, *, image: str | None = None
    ) -> None:
        directory.mkdir(exist_ok=True)
        self.directory, self.name, self._image = directory, name, image
        self._seed, self._rate_per_s, self._say = seed, rate_per_s, say
        self.ledger = Ledger(directory / "ledger.jsonl")
        self.jobs = 0
        self._good = 0  # which of several Cores answered last

    def flow(
        self, clients: Sequence[Client], over: threading.Event, ended: Callable[[], int], jobs_max: int = 0
    ) -> None:
        """Submit until it is over, or until so many jobs are; wait while `OPEN_MAX` more are submitted than `ended`."""
        chance = random.Random(f"{self._seed} jobs")
        pause_s = BATCH / self._rate_per_s
        for number in count():
            if over.is_set() or (jobs_max and self.jobs >= jobs_max):
                return
            drawn = [
                (round(0.005 + 0.4 * chance.random() ** 3, 3), chance.choice((0, 0, 0, 0, 3))) for _ in range(BATCH)
            ]
            began = time.monotonic()
            self.ask(clients, f"{self.name}-{self._seed}-{number}", [self.spec(*each) for each in drawn])
            over.wait(max(0.0, pause_s - (time.monotonic() - began)))
            while self.jobs - ended() >= OPEN_MAX and not over.wait(PAUSE_S):
                pass

    def ask(self, clients: Sequence[Client], key: str, specs: Sequence[dict[str, Any]]) -> list[str]:
        """Submit until there is an answer: the key makes sure that asking again makes no second job."""
        codes = tuple(int(spec["command"][-1]) for spec in specs)
        self.ledger.ask(key, codes)
        deadline = time.monotonic() + 2 * PATIENCE_S
        for turn in count(1):
            try:
                ids = clients[self._good % len(clients)].submit_many(list(specs), key=key)
                break
            except SwarmError as problem:
                if time.monotonic() > deadline:
                    raise
                self._say(f"asks again: {problem}")
                self._good += 1
                if turn % len(clients) == 0:
                    time.sleep(PAUSE_S)
        self.ledger.told(Promise(key, codes, tuple(ids)))
        self.jobs += len(ids)
        return ids

    def probe(self, clients: Sequence[Client], key: str, since: float) -> float | None:
        """Submit a job of no length, and say how long after `since` it began; None: not within `PROBE_S`."""
        (job_id,) = self.ask(clients, key, [self.spec(0.0, 0)])
        return self.wait_for(self.begun(job_id).exists, since)

    def wait_for(self, true: Callable[[], bool], since: float) -> float | None:
        """Return the seconds from `since` until it is true; None: it was not within `PROBE_S`."""
        try:
            wait_until(true, PROBE_S)
        except TimeoutError:
            return None
        return round(time.monotonic() - since, 3)

    def begun(self, job_id: str) -> Path:
        """Return the file that is there once the job's process has begun."""
        return self.directory / f"{job_id}.lock"

    def spec(self, first: float | str, code: int, *, script: str = SCRIPT, **more: Any) -> dict[str, Any]:
        """Return the spec of a job: `first` is how many seconds it takes, or what `script` takes that for."""
        contained = {
            "image": self._image,
            "network": "none",
            "volumes": [{"type": "bind", "source": str(self.directory), "target": INSIDE}],
        }
        there = INSIDE if self._image else str(self.directory)
        return {
            **(contained if self._image else {"image": "none"}),
            "name": self.name,
            "command": ["/bin/bash", "-c", script, there, str(first), str(code)],
            "resources": {"cpus": 0.5, "memory": "32MiB"},
            "stop": {"grace": "2s"},
            **more,
        }
