"""The JSON Schema of documents, made from the Structs that decode them; one for the API, the command line and the docs.

`SENTENCES` says what each field of a spec is for; a test fails for a field without one.
"""

import functools
import operator
import types
from collections.abc import Iterable
from typing import (
    Annotated,
    Any,
    Final,
    NotRequired,
    TypedDict,
    TypeVar,
    Union,
    get_args,
    get_origin,
    get_type_hints,
    is_typeddict,
)

import msgspec
from msgspec import NODEFAULT, UNSET, Struct

from swarmsync.model.fields import Duration, Environment, Size, Words, enc_hook
from swarmsync.model.spec import JobSpec
from swarmsync.protocol.codec import encode_json

#: How field types that people may write in several ways are described.
_WRITTEN: Final[dict[type, dict[str, Any]]] = {
    Duration: {"description": "90s, 15m, 2h, 1d; a number counts seconds", "type": ["string", "number"]},
    Size: {"description": "256MiB, 1GiB, 512m; a number counts bytes", "type": ["string", "integer"]},
    Words: {"description": "a line or a list of words", "type": ["string", "array"]},
    Environment: {"description": "names and values, or a list of NAME=value", "type": ["object", "array"]},
}

SENTENCES: Final[dict[str, dict[str, str]]] = {
    "JobSpec": {
        "image": "What to run. A tag is resolved to a digest at the first assignment and kept for retries.",
        "name": "A label for people; need not be unique. `@name` selects the newest job of that name.",
        "entrypoint": "Replaces the image's entrypoint.",
        "command": "The command and its arguments; a line is split as a shell would.",
        "environment": "Variables of the container. `SWARMSYNC_*` are set by the system and win.",
        "secrets": "Stored secrets: a name is mounted as /run/secrets/NAME, `{name, env}` becomes a variable.",
        "working_dir": "Working directory in the container.",
        "user": "User in the container: a name or uid[:gid].",
        "init": "Run a small init as process 1, so that signals reach the command and no zombies stay.",
        "volumes": "`name:/target[:ro]`, or a volume or tmpfs as an object.",
        "network": "none, bridge, or the name of a network of the workers.",
        "security": "How tightly the container is held.",
        "resources": "What is requested and enforced.",
        "queue": "The line to wait in.",
        "priority": "0 to 100, higher first; may be changed while the job waits.",
        "labels": "Names and values to find the job by.",
        "constraints": "Conditions on the worker that must all hold, like `worker.label.zone == eu`.",
        "affinity": "Conditions that make a worker preferred, or avoided where the weight is negative.",
        "timeout": "An attempt that runs longer is stopped: timed_out.",
        "queue_timeout": "A job that was not started by then ends: expired.",
        "deadline": "A job that has not ended by then is stopped (timed_out) or, where it waits, expired.",
        "stop": "How the container is asked to end, and how long it has.",
        "retry": "Which failures of the job's own are tried again, and when. Lost workers spend none of it.",
        "concurrency": "At most so many jobs of a key at a time, over all users.",
        "rate": "At most so many starts of a key in any interval, over all users.",
        "after": "Jobs that must have ended first. In a request of several jobs `#0` names the first.",
        "array": "One job per index.",
        "run_at": "Start not before this time.",
        "delay": "Start not before this has passed.",
        "outputs": "Files to collect when the container has ended.",
        "logs": "How much output is kept, and for how long.",
    },
    "Security": {
        "profile": "standard: what ordinary images need; strict: no capabilities, read-only root, user nobody.",
        "read_only": "Make the container's root read-only.",
        "capabilities": "Capabilities to add; an admin's policy must allow each.",
        "devices": "Devices of the worker's machine; an admin's policy must allow each.",
        "privileged": "All of the worker's machine; an admin's policy must allow it.",
    },
    "Resources": {
        "cpus": "CPUs, in parts of a thousand.",
        "memory": "Memory; swap is not added to it.",
        "pids": "Processes and threads at most.",
        "gpus": "Whole GPUs.",
        "disk": "Room for the container's own files, where the worker's storage can limit it.",
    },
    "VolumeSpec": {
        "target": "Absolute path in the container.",
        "type": "A named volume, memory, or a path of the worker's machine (where an admin allows it).",
        "source": "The volume's name.",
        "read_only": "Mount it read-only.",
        "size": "The limit of a tmpfs.",
    },
    "Stop": {"signal": "What asks the container to end.", "grace": "From that signal to SIGKILL."},
    "Retry": {
        "attempts": "Attempts in all.",
        "backoff": "How the pause grows: none, fixed, exponential.",
        "delay": "The first pause.",
        "max_delay": "The longest pause.",
        "jitter": "The share by which a pause is varied each way.",
        "on": "Which failures are tried again.",
        "not_on_exit": "Exit codes that are final: numbers and ranges like 64-78.",
        "memory_factor": "After an OOM kill the next attempt gets so many times the memory.",
        "memory_max": "It gets no more than this.",
    },
    "Concurrency": {
        "key": "Any text; jobs with the same one share the limit.",
        "limit": "Jobs at a time.",
        "on_limit": "queue: wait; reject: refuse the submission; cancel_oldest: end your own oldest one.",
    },
    "Rate": {"key": "Any text; jobs with the same one share the limit.", "limit": "Starts per interval: 10/1m."},
    "After": {
        "job": "The job's id.",
        "when": "What it must have done; a condition that can never hold ends this job: DependencyFailed.",
    },
    "Array": {
        "range": "0-999, or indexes and ranges: 3,7,10-12.",
        "max_parallel": "Members at a time.",
        "max_failures": "With more failed members than this the rest is cancelled.",
    },
    "Affinity": {"match": "A condition as in constraints, or image.local.", "weight": "-100 to 100."},
    "Output": {
        "path": "Files to collect; `*` and `**` as in a shell.",
        "name": "What to ask for them by.",
        "max": "More than this fails the job: OutputTooLarge.",
    },
    "SecretUse": {"name": "The stored secret.", "env": "The variable that gets its value."},
    "Logs": {
        "max": "Bytes kept of the two streams together.",
        "on_limit": "truncate: keep the beginning and say so; fail: end the job with LogLimit.",
        "keep": "How long the output is kept.",
    },
}


def describe(kinds: Iterable[Any], reference: str) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """Return the schema of each of these types, and by name all that they refer to; `reference` has `{name}` in it."""
    twins: dict[Any, Any] = {}
    plain = [_with_twins(kind, twins) for kind in kinds]
    roots, schemas = msgspec.json.schema_components(plain, schema_hook=_written, ref_template=reference)
    for name, fields in SENTENCES.items():
        for field, sentence in fields.items():
            entry = schemas.get(name, {}).get("properties", {}).get(field)
            if entry is not None:
                entry["description"] = f"{sentence} ({entry['description']})" if "description" in entry else sentence
    return list(roots), schemas


def job_schema() -> dict[str, Any]:
    """Return the JSON Schema of a job spec as one document."""
    _, schemas = describe([JobSpec], "#/$defs/{name}")
    root = schemas.pop("JobSpec")
    dialect = "https://json-schema.org/draft/2020-12/schema"
    return {"$schema": dialect, **root, "title": "SwarmSync job spec", "$defs": schemas}


def default_of(value: Any) -> str:
    """Write a field's default as in a document; empty where there is none."""
    if value is None or value is NODEFAULT or value in ((), "", {}):
        return ""
    return encode_json(value).decode().strip('"')


def is_struct(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, Struct)


def _written(kind: type) -> dict[str, Any]:
    if kind not in _WRITTEN:
        raise NotImplementedError(kind)
    return dict(_WRITTEN[kind])  # whoever gets it adds to it


def _twin(kind: type[Struct], twins: dict[Any, Any]) -> Any:
    """Return a Struct of the same fields whose defaults are plain values: msgspec describes no others."""
    if kind not in twins:
        fields: list[Any] = []
        for entry in msgspec.structs.fields(kind):
            annotation = _with_twins(entry.type, twins)
            if entry.required:
                fields.append((entry.encode_name, annotation))
                continue
            has_plain = entry.default not in (NODEFAULT, UNSET)
            default = msgspec.to_builtins(entry.default, enc_hook=enc_hook) if has_plain else entry.default
            simple = default is None or default is UNSET or isinstance(default, str | int | float)
            fields.append(
                (entry.encode_name, annotation, default if simple else msgspec.field(default_factory=lambda: None))
            )
        twins[kind] = msgspec.defstruct(
            kind.__name__,
            fields,
            namespace={"__doc__": kind.__doc__},
            forbid_unknown_fields=kind.__struct_config__.forbid_unknown_fields,
            kw_only=True,
        )
    return twins[kind]


def _twin_of_dict(kind: Any, twins: dict[Any, Any], given: dict[Any, Any]) -> Any:
    """Return a TypedDict of the same keys; one of a generic one is named after what it is given."""
    of = "And".join(entry.__name__ for entry in given.values())
    key = (kind, of)
    if key not in twins:
        fields = {}
        for name, hint in get_type_hints(kind, include_extras=True).items():
            inner = get_args(hint)[0] if get_origin(hint) is NotRequired else hint
            made = _with_twins(_given(inner, given), twins)
            fields[name] = made if name in kind.__required_keys__ else NotRequired[made]
        made_of: Any = TypedDict  # which mypy knows only where the keys are written out
        twins[key] = made_of(f"{kind.__name__}Of{of}" if of else kind.__name__, fields)
        twins[key].__doc__ = kind.__doc__
    return twins[key]


def _given(annotation: Any, given: dict[Any, Any]) -> Any:
    """Put what a generic type is given in the places of its variables."""
    if isinstance(annotation, TypeVar):
        return given[annotation]
    arguments = getattr(annotation, "__parameters__", ())
    return annotation[tuple([given[entry] for entry in arguments])] if arguments and given else annotation


def _with_twins(annotation: Any, twins: dict[Any, Any]) -> Any:
    if is_struct(annotation):
        return _twin(annotation, twins)
    origin, arguments = get_origin(annotation), get_args(annotation)
    if is_typeddict(annotation):
        return _twin_of_dict(annotation, twins, {})
    if is_typeddict(origin):
        generic_one: Any = origin
        return _twin_of_dict(origin, twins, dict(zip(generic_one.__parameters__, arguments, strict=True)))
    if not arguments or origin is None:
        return annotation
    if origin is Annotated:
        return Annotated[(_with_twins(arguments[0], twins), *arguments[1:])]
    inner = tuple([_with_twins(argument, twins) for argument in arguments])
    if origin in (Union, types.UnionType):
        return functools.reduce(operator.or_, inner)
    generic: Any = origin
    return generic[inner] if isinstance(origin, type) else annotation
