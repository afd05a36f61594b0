"""The two ways to write a schedule: its job under `job`, or flat: a job's spec with the times beside its fields."""

from typing import Any, Final

from swarmsync.errors import FieldError, SpecError

#: How the sentence about an unknown key begins.
UNKNOWN: Final = "is not a known field"
#: What a flat document says of time; all the rest of it is the job.
OWN: Final = ("cron", "at", "delay", "timezone", "overlap", "misfire", "misfire_window", "jitter", "start", "end")


def is_flat(document: Any) -> bool:
    return isinstance(document, dict) and "job" not in document and "image" in document


def nested(document: dict[str, Any]) -> dict[str, Any]:
    """Return a schedule whose job stands under `job`, whichever way it was written."""
    if not is_flat(document):
        return document
    job = {name: value for name, value in document.items() if name not in OWN}
    named = {"name": document["name"]} if document.get("name") else {}
    return {**named, **{name: document[name] for name in OWN if name in document}, "job": job}


def is_flat_patch(patch: dict[str, Any]) -> bool:
    """Whether a patch has fields of the job beside those of the schedule; a name is the schedule's."""
    return "job" not in patch and not patch.keys() <= {*OWN, "name"}


def nested_patch(patch: dict[str, Any]) -> dict[str, Any]:
    """Return a patch whose changes of the job stand under `job`, whichever way it was written."""
    if not is_flat_patch(patch):
        return patch
    own = {name: value for name, value in patch.items() if name in OWN or name == "name"}
    return {**own, "job": {name: value for name, value in patch.items() if name not in own}}


def as_written_flat(error: SpecError) -> SpecError:
    """Return the error with the paths, and the neighbours of unknown keys, of the flat document that somebody wrote."""
    return SpecError([_flat(entry) for entry in error.errors])


def _flat(entry: FieldError) -> FieldError:
    from swarmsync.protocol.neighbours import nearest_key  # noqa: PLC0415 difflib is slow to import, rarely needed

    key = entry.path.removeprefix("$.job.")
    if key != entry.path and "." not in key and entry.message.startswith(UNKNOWN):
        return FieldError(f"$.{key}", f"{UNKNOWN}{nearest_key(key, '', 'flat')}")
    return FieldError(entry.path.replace("$.job.", "$.", 1), entry.message)
