"""The two ways to write a schedule: its job under `job`, or flat: a job's spec with the times beside its fields."""

from typing import Any, Final

from swarmsync.errors import FieldError, SpecError

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


def as_written_flat(error: SpecError) -> SpecError:
    """Return the error with the paths of the flat document that somebody wrote."""
    return SpecError([FieldError(entry.path.replace("$.job.", "$.", 1), entry.message) for entry in error.errors])
