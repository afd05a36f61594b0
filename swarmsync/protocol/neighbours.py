"""What a document should have said: the nearest known key, the words that are known, how a value is written."""

import difflib
import re
from collections.abc import Iterator
from typing import Any, Final

import msgspec
from msgspec import inspect

from swarmsync.model import files
from swarmsync.model import spec as model
from swarmsync.model.schedule import ScheduleSpec

_STRUCTS: Final[dict[str, tuple[type[msgspec.Struct], ...]]] = {
    "": (model.JobSpec,),
    "job": (model.JobSpec,),
    "schedule": (ScheduleSpec,),
    "flat": (model.JobSpec, ScheduleSpec),  # a schedule whose job is written beside its times
    "resources": (model.Resources,),
    "stop": (model.Stop,),
    "security": (model.Security,),
    "rate": (model.Rate,),
    "retry": (model.Retry,),
    "array": (model.Array,),
    "logs": (model.Logs,),
    "concurrency": (model.Concurrency,),
    "volumes": (model.VolumeSpec,),
    "after": (model.After,),
    "affinity": (model.Affinity,),
    "outputs": (files.Output,),
    "secrets": (files.SecretUse,),
}

#: Words of other systems for fields of ours.
_SYNONYMS: Final = {
    "env": "environment",
    "cmd": "command",
    "args": "command",
    "workdir": "working_dir",
    "cpu": "resources.cpus",
    "cpus": "resources.cpus",
    "mem": "resources.memory",
    "memory": "resources.memory",
    "gpus": "resources.gpus",
    "networks": "network",
    "mounts": "volumes",
    "depends_on": "after",
    "retries": "retry.attempts",
    "schedule": "a schedule of its own (consumer schedule create)",
    "cron": "a schedule of its own (consumer schedule create)",
}


def nearest_key(unknown: str, place: str, top: str = "") -> str:
    """Return `; did you mean X?`, or the list of known keys; `top` is the section of the document itself."""
    section = re.sub(r"\[[^]]*\]", "", place).removeprefix("$").strip(".").split(".")[-1] or top
    known = [entry.encode_name for struct in _STRUCTS.get(section, ()) for entry in msgspec.structs.fields(struct)]
    if not known:
        return ""
    if section in ("", "job", "flat") and unknown in _SYNONYMS:
        return f"; did you mean {_SYNONYMS[unknown]}?"
    known = [name for name in dict.fromkeys(known) if section != "flat" or name != "job"]
    close = difflib.get_close_matches(unknown.lower(), known, n=1, cutoff=0.5)
    return f"; did you mean {close[0]}?" if close else f"; known are {', '.join(known)}"


#: How the fields are written that msgspec holds against a pattern; nobody should have to read one.
_WRITTEN: Final = {
    "range": "0-999, or 3,7,10-12",
    "limit": "10/1m",
    "signal": "SIGTERM or SIGINT",
    "capabilities": "NET_ADMIN",
    "devices": "/dev/fuse",
    "name": "ci-deploy: letters, digits, '@', '_', '.' and '-', 63 at most",
}
_STEP: Final = re.compile(r"\.([A-Za-z_]\w*)|\[")


def remedy(text: str, place: str, kind: Any) -> str:
    """Return what msgspec says of the value at `place` of a document of type `kind`, with what could stand there."""
    if text.startswith("Expected `str` matching regex"):
        written = _WRITTEN.get(re.sub(r"\[[^]]*\]", "", place).split(".")[-1])
        return f"is not written as it must be; write it like {written}" if written else text
    if text.startswith("Invalid RFC3339"):
        return "is not a time; write it like 2026-11-24T02:00:00+01:00"
    if kind is None or not text.startswith("Invalid enum value"):
        return text
    known = list(dict.fromkeys(_words(inspect.type_info(kind), _STEP.findall(place))))
    return f"{text}; known are {', '.join(known)}" if known else text


def _words(kind: inspect.Type, path: list[str]) -> Iterator[str]:
    """Yield the words that may stand at `path`, which has a name for a field and nothing for an entry of a list."""
    if isinstance(kind, inspect.UnionType):
        for one in kind.types:
            yield from _words(one, path)
    elif isinstance(kind, inspect.Metadata):
        yield from _words(kind.type, path)
    elif not path:
        if isinstance(kind, inspect.LiteralType):
            yield from map(str, kind.values)
        elif isinstance(kind, inspect.EnumType):
            yield from (str(member.value) for member in kind.cls)
    elif isinstance(kind, inspect.StructType):
        for entry in kind.fields:
            if entry.encode_name == path[0]:
                yield from _words(entry.type, path[1:])
    elif isinstance(kind, inspect.VarTupleType | inspect.ListType):
        yield from _words(kind.item_type, path[1:])
