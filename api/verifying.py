"""Everything that is stored of a job, read again and compared with what its worker said when it sent it."""

from datetime import timedelta
from hashlib import sha256
from typing import Any, Final, TypeAlias

from api.answers.jobs import Finding, Findings
from api.answers.jobs import FindingKind as Kind
from api.endpoint import Call
from swarmsync import ids
from swarmsync.errors import Unavailable
from swarmsync.model.lifecycle import FINAL
from swarmsync.model.result import read_result
from swarmsync.store import outputs, tars
from swarmsync.store.lists import Row
from swarmsync.store.outputs import Output

_STREAMS: Final = {"stdout": 1, "stderr": 2}
_SPEC: Final = "SELECT s.document, s.sha256 FROM jobs j JOIN specs s ON s.id = j.spec_id WHERE j.id = $1"
#: A length and a SHA-256, empty where none is known.
Sum: TypeAlias = tuple[int, str]


async def verify(call: Call, job_id: int, row: Row) -> Findings:
    """Return what was found, one item for the spec, each stream and each output; `ok` is None where nothing is known.

    Of a stream that was cut, the part that was kept is compared.
    """
    items = [await _spec(call, job_id)]
    result = read_result(row["result"])
    if row["state"] in FINAL and row["fence"]:
        for name, stream in _STREAMS.items():
            items.append(await _stream(call, job_id, row, name, stream, result.get(name) or {}))
    said = {entry["name"]: entry for entry in result.get("outputs", ())}
    stored = {entry["name"]: entry for entry in await tars.listed(call.services.store, call.caller, job_id)}
    names = dict.fromkeys([*said, *stored])
    items += [await _output(call, job_id, name, said.get(name), stored.get(name)) for name in names]
    return {"id": ids.encode(job_id), "ok": all(item["ok"] is not False for item in items), "items": items}


def _go_on(call: Call) -> None:
    """Reading takes its time: a process that stops does not wait for it."""
    if call.services.stopping():
        raise Unavailable("this process stops; ask again")


async def _spec(call: Call, job_id: int) -> Finding:
    found: Any = await call.services.store.fetchrow(_SPEC, job_id, **call.caller.settings)
    document = found["document"].encode()
    return _item("spec", "spec", (len(document), found["sha256"].hex()), (len(document), sha256(document).hexdigest()))


async def _stream(call: Call, job_id: int, row: Row, name: str, stream: int, said: dict[str, Any]) -> Finding:
    digest, end, more = sha256(), 0, True
    output = Output(job_id, row["fence"], row["submitted_at"] - timedelta(days=1))
    while more:
        _go_on(call)
        ((chunks, more),) = await outputs.forward(call.services.store, call.caller, output, [(stream, end)])
        for chunk in chunks:
            if chunk.start != end:
                return _item(name, "stream", _told(said), (end, ""), f"nothing is stored at byte {end}")
            digest.update(chunk.data)
            end = chunk.end
        more = more and bool(chunks)
    note = ""
    if said and said["kept"] < said["size"]:
        note = f"truncated: {said['kept']} of {said['size']} bytes were kept"
    return _item(name, "stream", _told(said), (end, digest.hexdigest()), note)


def _told(said: dict[str, Any]) -> Sum | None:
    """What the worker said of the part that is kept; None where it said nothing."""
    if not said:
        return None
    cut = said["kept"] < said["size"]
    return said["kept"], said.get("kept_sha256", "") if cut else said["sha256"]


async def _output(call: Call, job_id: int, name: str, said: Any, stored: Row | None) -> Finding:
    expected = None if said is None else (said["size"], said["sha256"])
    if stored is None:
        return _item(name, "output", expected, (0, ""), "is not stored any more")
    digest, size = sha256(), 0
    async for data in tars.read(call.services.store, call.caller, job_id, stored):
        _go_on(call)
        digest.update(data)
        size += len(data)
    return _item(name, "output", expected or (stored["size"], stored["sha256"].hex()), (size, digest.hexdigest()))


def _item(name: str, kind: Kind, said: Sum | None, found: Sum, note: str = "") -> Finding:
    same: bool | None = None
    if said is not None:
        same = said[0] == found[0] and (not said[1] or said[1] == found[1])
    return {
        "name": name,
        "kind": kind,
        "ok": same,
        "bytes": None if said is None else said[0],
        "sha256": None if said is None else said[1] or None,
        "stored_bytes": found[0],
        "stored_sha256": found[1] or None,
        "note": note,
    }
