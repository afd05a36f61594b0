"""Sends the traces of jobs that have ended to an OpenTelemetry collector (OTLP over HTTP), where one is named.

One process of the API does it at a time, whoever holds the lease in Redis. The place in the feed up to which traces
were sent is kept there, too: a collector that is away gets them later, up to an hour; spans that come twice have the
same ids.
"""

import asyncio
import contextlib
import secrets
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any, Final

from api.access import LOCAL_READER
from swarmsync.errors import ConfigError, Unavailable
from swarmsync.model.spans import Span, spans
from swarmsync.store import events, traces
from swarmsync.store.events import Place
from swarmsync.store.pool import Store
from swarmsync.store.sessions import answering

LEASE_KEY: Final = "swarmsync:traces:lease"
PLACE_KEY: Final = "swarmsync:traces:place"
LEASE_MS: Final = 30_000
EVERY_S: Final = 1.0
PAUSE_MAX_S: Final = 30.0
EXPORT_S: Final = 10
_CALLER: Final = LOCAL_READER.caller
Export = Callable[[Sequence[Span]], bool]


class Tracer:
    """`start` does nothing where no collector is named. Raises ConfigError where the extra is not installed."""

    def __init__(self, store: Store, redis: Any, endpoint: str, server_id: str) -> None:
        self._store = store
        self._redis = redis
        self._secret = server_id
        self._mine = secrets.token_hex(8)
        self._export: Export | None = open_exporter(endpoint) if endpoint else None
        self._running: asyncio.Task[None] | None = None

    @property
    def on(self) -> bool:
        return self._export is not None

    def start(self) -> None:
        if self._export is not None:
            self._running = asyncio.create_task(self._run(self._export))

    async def close(self) -> None:
        if self._running is not None:
            self._running.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._running

    async def _run(self, export: Export) -> None:
        pause_s = EVERY_S
        while True:
            try:
                more = await self._turn(export)
                pause_s = 0 if more else EVERY_S
            except Unavailable:
                pause_s = min(max(pause_s, EVERY_S) * 2, PAUSE_MAX_S)
            await asyncio.sleep(pause_s)

    async def _turn(self, export: Export) -> bool:
        """Send what ended since the last turn; True where there may be more. Raises Unavailable."""
        with answering():
            await self._redis.set(LEASE_KEY, self._mine, nx=True, px=LEASE_MS)
            if await self._redis.get(LEASE_KEY) != self._mine.encode():
                return False
            await self._redis.pexpire(LEASE_KEY, LEASE_MS)
            kept: bytes | None = await self._redis.get(PLACE_KEY)
        if kept is None:
            place = await events.now(self._store, _CALLER)
            await self._keep(place)
            return False
        xid, _, seq = kept.decode().partition("-")
        batch = await traces.ended(self._store, _CALLER, Place(int(xid), int(seq)))
        if not batch.jobs:
            return False
        wanted = [
            span for job in batch.jobs if job.parent is None or job.parent.sampled for span in spans(job, self._secret)
        ]
        if wanted and not await asyncio.to_thread(export, wanted):
            raise Unavailable("the collector of traces does not answer")
        await self._keep(batch.place)
        await traces.forget(self._store, _CALLER, datetime.now(UTC) - traces.KEPT)
        return len(batch.jobs) == traces.JOBS_MAX

    async def _keep(self, place: Place) -> None:
        with answering():
            await self._redis.set(PLACE_KEY, str(place))


def open_exporter(endpoint: str) -> Export:
    """Return what sends spans and says whether they arrived. Raises ConfigError."""
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter  # noqa: PLC0415 an extra
        from opentelemetry.sdk.resources import Resource  # noqa: PLC0415 the same
        from opentelemetry.sdk.trace import ReadableSpan  # noqa: PLC0415 the same
        from opentelemetry.sdk.trace.export import SpanExportResult  # noqa: PLC0415 the same
        from opentelemetry.trace import SpanContext, SpanKind, Status, StatusCode, TraceFlags  # noqa: PLC0415 the same
    except ImportError:
        raise ConfigError("traces.endpoint is set, and OpenTelemetry is missing: install swarmsync[traces]") from None
    exporter = OTLPSpanExporter(endpoint=endpoint, timeout=EXPORT_S)
    resource = Resource.create({"service.name": "swarmsync"})
    sampled = TraceFlags(TraceFlags.SAMPLED)

    def readable(span: Span) -> ReadableSpan:
        parent = span.parent_id
        return ReadableSpan(
            span.name,
            SpanContext(span.trace_id, span.span_id, is_remote=False, trace_flags=sampled),
            None if parent is None else SpanContext(span.trace_id, parent, is_remote=True, trace_flags=sampled),
            resource,
            dict(span.attributes),
            kind=SpanKind.CONSUMER if span.name == "job" else SpanKind.INTERNAL,
            status=Status(StatusCode.ERROR, span.error) if span.error else Status(StatusCode.UNSET),
            start_time=span.began_us * 1_000,
            end_time=span.ended_us * 1_000,
        )

    return lambda made: exporter.export([readable(span) for span in made]) is SpanExportResult.SUCCESS
