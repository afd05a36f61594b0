"""The Logger's shell: the journals of all modules and the output of all jobs, into PostgreSQL; retention as well.

Workers send output here directly and get their answer after the commit: a flood of output delays neither verdicts nor
placements (docs/decisions/0006).
"""

import sys
from collections.abc import Sequence
from typing import Any, ClassVar

from nats.aio.msg import Msg

from conf.settings import WebhookSettings
from engine.logger.checks import Checks
from engine.logger.keeping import Keeper
from engine.logger.sinks import JournalSink, OutputSink
from engine.logger.tar_sink import TarSink
from engine.logger.webhook_sink import WebhookSink
from engine.pulse_system.pulses import Beat
from engine.service import Every, Service
from engine.service_channels import Role
from swarmsync import ids
from swarmsync.bus import Bus
from swarmsync.errors import Unavailable
from swarmsync.json_lines import json_line
from swarmsync.protocol import codec, subjects
from swarmsync.protocol.messages import AskLogEnds, CheckOutput, JournalLine, LogChunks, LogsAck, OutputChecked
from swarmsync.seal import Sealer
from swarmsync.store.pool import Store
from swarmsync.store.queries import sql

MESSAGES_PER_TURN = 256
MESSAGES_WAITING_MAX = 4_096
LINES_KEPT_MAX = 20_000
HOUR_MS = 3_600_000


def _write(lines: Sequence[JournalLine]) -> None:
    texts = [
        json_line(
            line.at_ms,
            line.source,
            line.level,
            line.message,
            {**({} if line.job_id is None else {"job": ids.encode(line.job_id)}), **line.fields},
        )
        for line in lines
    ]
    sys.stderr.write("\n".join(texts) + "\n")
    sys.stderr.flush()


class LoggerService(Service):
    role: ClassVar[Role] = Role.LOGGER

    def __init__(
        self,
        store: Store,
        nats_url: str,
        *,
        keep_days: dict[str, int],
        sealer: Sealer,
        webhooks: WebhookSettings,
        as_json: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self._store = store
        self._nats_url = nats_url
        self._keep_days = keep_days
        self._as_json = as_json  # every line of the journal into this process's own log, too
        self._hourly = Every(HOUR_MS)
        self._arrived: list[tuple[Msg, Any]] = []
        self._lines: list[JournalLine] = []
        self._journal_sink, self._output_sink = JournalSink(store), OutputSink(store)
        self._checks = Checks(TarSink(store).check, self._checked)
        self._webhook_sink = WebhookSink(store, sealer, webhooks, self.journal)
        self._keeper, self._keeping = Keeper(store), False
        self.lines_dropped = 0

    async def on_start(self) -> None:
        self._bus = await Bus.connect(self._nats_url, "logger")
        await self._bus.subscribe(subjects.ALL_LOGS, self._on_output)
        self._webhook_sink.start()

    def write_journal(self, lines: list[JournalLine]) -> None:
        self._lines += lines  # its own lines need no ring

    async def _on_output(self, message: Msg) -> None:
        if len(self._arrived) >= MESSAGES_WAITING_MAX:
            return  # no answer: the worker sends it again
        try:
            word = codec.decode_from_worker(message.data)
        except codec.DecodeError as problem:
            self.journal("warning", f"{subjects.worker_of(message.subject)} sent what is no message: {problem}")
            return
        if isinstance(word, CheckOutput):
            self._checks.ask(message, word)
            return
        self._arrived.append((message, word))
        self.poke()

    async def _checked(self, message: Msg, word: CheckOutput, answer: OutputChecked) -> None:
        if not answer.same:
            self._output_sink.forget(word.ref)
            self.journal(
                "warning", f"an output arrived damaged: {answer.message}", job_id=word.ref.job_id, fence=word.ref.fence
            )
        await self._reply(message, answer)

    async def duty(self) -> int:
        self._webhook_sink.check()
        for reader in self.readers.values():
            self._lines += reader.take(64)
        if len(self._lines) > LINES_KEPT_MAX:
            self.lines_dropped += len(self._lines) - LINES_KEPT_MAX
            del self._lines[: len(self._lines) - LINES_KEPT_MAX]
        arrived, self._arrived = self._arrived[:MESSAGES_PER_TURN], self._arrived[MESSAGES_PER_TURN:]
        await self._store_output(arrived)
        lines = len(self._lines)
        if lines:
            await self._journal_sink.write(self._lines)
            written, self._lines = self._lines, []
            if self._as_json:
                _write(written)
            await self._tail(written)
        if self._keeping or self.due(Beat.SLOW):
            self._keeping = await self._keeper.step()
        if self._hourly():
            await self._keep_house()
        return lines + len(arrived)

    def restless(self) -> bool:
        return bool(self._arrived or self._lines or self._keeping)

    async def on_stop(self) -> None:
        await self._webhook_sink.close()
        for reader in self.readers.values():
            self._lines += reader.take(1_000)
        if self._lines:
            await self._journal_sink.write(self._lines)
        self._checks.close()
        await self._bus.close()
        await self._store.close()

    async def _store_output(self, arrived: list[tuple[Msg, Any]]) -> None:
        chunks = [chunk for _, word in arrived if isinstance(word, LogChunks) for chunk in word.chunks]
        ends = {(ref, stream): end for ref, stream, end in await self._output_sink.write(chunks)} if chunks else {}
        for message, word in arrived:
            if isinstance(word, LogChunks):
                keys = {(chunk.ref, chunk.stream) for chunk in word.chunks}
                await self._reply(message, LogsAck(tuple([(*key, ends[key]) for key in keys])))
            elif isinstance(word, AskLogEnds):
                await self._reply(message, LogsAck(tuple(await self._output_sink.ends(word.refs))))
        for job_id in {ref.job_id for ref, _ in ends}:
            try:
                await self._bus.publish(subjects.stored(job_id), b"")
            except Unavailable:
                break  # followers poll

    async def _tail(self, lines: list[JournalLine]) -> None:
        try:
            await self._bus.publish(subjects.JOURNAL, codec.encode(lines[-500:]))
        except Unavailable:
            return

    async def _reply(self, message: Msg, word: LogsAck | OutputChecked) -> None:
        try:
            await self._bus.publish(message.reply, codec.encode(word))
        except Unavailable:
            return  # the worker sends it again

    async def _keep_house(self) -> None:
        """Make the partitions of the next days, drop those that are too old, and forget old idempotency keys."""
        await self._store.execute("SELECT ensure_partitions(3)")
        for table, days in self._keep_days.items():
            dropped = await self._store.fetchval("SELECT drop_partitions($1, $2)", table, days)
            if dropped:
                self.journal("info", f"dropped {dropped} day partitions of {table}", keep_days=days)
        await self._store.execute(sql("line_forget"), self._keep_days["job_events"])
        await self._store.execute(sql("drop_old_tars"), self._keep_days["output_chunks"])
        await self._store.execute("DELETE FROM idempotency_keys WHERE created_at < now() - interval '7 days'")
