"""Request bodies to checked drafts: one spec or a batch, each entry of which is read once per distinct text."""

import asyncio
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Final

import msgspec

from api import strict_json
from api.strict_json import MalformedJson
from swarmsync.errors import FieldError, RequestError, SpecError, TooLarge
from swarmsync.model import spec as model
from swarmsync.model.spec import ARRAY_MAX, JobSpec
from swarmsync.protocol import codec
from swarmsync.store.submit import Draft, draft

ERRORS_MAX: Final = 20
#: A large batch lets other requests have their turn after so many specs (about 10 ms).
TURN_SPECS: Final = 500
RUN_AT_MAX: Final = timedelta(days=3_650)
_RUN_AT_YEAR_MIN: Final = 1970


class Reader:
    """Reads the specs of one request; `queues` are the names that a spec may give."""

    def __init__(self, queues: frozenset[str], now: datetime) -> None:
        self._queues = queues
        self._now = now
        self._known: dict[bytes, Draft] = {}

    def one(self, body: bytes, root: str = "$") -> Draft:
        """Return the draft of one spec. Raises MalformedJson, SpecError, TooLarge."""
        known = self._known.get(body)
        if known is None:
            known = self._known[body] = draft(
                self.check(codec.convert_spec(strict_json.decode(body, root), root), root)
            )
        return known

    def check(self, spec: JobSpec, root: str = "$") -> JobSpec:
        errors = model.check(spec, root)
        if spec.queue not in self._queues:
            known = ", ".join(sorted(self._queues)[:20])
            errors.append(FieldError(f"{root}.queue", f"there is no queue {spec.queue[:64]!r}; known are {known}"))
        if spec.run_at is not None and spec.run_at.tzinfo is not None and not self._plausible(spec.run_at):
            errors.append(FieldError(f"{root}.run_at", "must lie after 1970 and not more than 10 years ahead"))
        if errors:
            raise SpecError(errors[:ERRORS_MAX])
        return spec

    async def batch(self, members: dict[str, msgspec.Raw], limit: int) -> list[Draft]:
        """Return the drafts of `{"jobs": [...]}`. Raises SpecError or MalformedJson with up to 20 wrong places."""
        others = [FieldError(f"$.{name[:40]}", "does not go with jobs") for name in members if name != "jobs"]
        if others:
            raise SpecError(others[:ERRORS_MAX])
        entries = strict_json.split_list(members["jobs"])
        if not entries:
            strict_json.decode(bytes(members["jobs"]), "$.jobs")
            raise SpecError([FieldError("$.jobs", "must be a list of one spec at least")])
        if len(entries) > limit:
            raise SpecError([FieldError("$.jobs", f"{len(entries)} jobs; {limit} at most in one request")])
        return await self._read_all(entries)

    async def _read_all(self, entries: list[bytes]) -> list[Draft]:
        drafts: list[Draft] = []
        errors: list[FieldError] = []
        kind: Callable[[list[FieldError]], RequestError] = SpecError
        for index, entry in enumerate(entries):
            root = f"$.jobs[{index}]"
            if index % TURN_SPECS == TURN_SPECS - 1:
                await asyncio.sleep(0)
            try:
                drafts.append(self.one(entry, root))
            except MalformedJson as error:
                errors += error.errors
                kind = MalformedJson
            except SpecError as error:
                errors += error.errors
            except TooLarge as error:
                errors.append(FieldError(root, str(error)))
            if len(errors) >= ERRORS_MAX:
                break
        if errors:
            raise kind(errors[:ERRORS_MAX])
        return drafts

    def _plausible(self, run_at: datetime) -> bool:
        return run_at.year > _RUN_AT_YEAR_MIN and run_at <= self._now + RUN_AT_MAX


def check_size(drafts: list[Draft]) -> None:
    """Raise SpecError where one request would make more rows than one transaction should."""
    rows = sum(1 if entry.spec.array is None else 1 + entry.spec.array.size() for entry in drafts)
    if rows > ARRAY_MAX + 1 and len(drafts) > 1:
        raise SpecError(
            [FieldError("$.jobs", f"{rows} jobs with all array members; {ARRAY_MAX} at most in one request")]
        )
