"""Which images a worker gives up when those that it pulled take more disk than it allows. Pure.

Only what this worker pulled itself counts and goes: whatever else lies on the engine is somebody's.
"""

from collections.abc import Collection, Iterable, Mapping
from typing import Any, Final

from msgspec import Struct

NAMES_MAX: Final = 256
NAME_CHARACTERS_MAX: Final = 256


class PulledImage(Struct, frozen=True):
    image_id: str
    size_bytes: int
    used_s: float  # Unix time of its last use


def surplus(images: Iterable[PulledImage], in_use: Collection[str], budget: int) -> list[str]:
    """Return the ids to remove, least recently used first, so that the rest fits; what is in use or due stays."""
    ordered = sorted(images, key=lambda image: (image.used_s, image.image_id))
    total = sum(image.size_bytes for image in ordered)
    gone = []
    for image in ordered:
        if total <= budget:
            break
        if image.image_id not in in_use:
            gone.append(image.image_id)
            total -= image.size_bytes
    return gone


def names_of(listed: Iterable[Mapping[str, Any]]) -> tuple[str, ...]:
    """Read GET /images/json: the images' names as jobs write them, in order, as many as a message takes."""
    tags = {tag for entry in listed for tag in entry.get("RepoTags") or () if tag != "<none>:<none>"}
    short = {tag.removesuffix(":latest") for tag in tags}
    return tuple(sorted(name for name in tags | short if len(name) <= NAME_CHARACTERS_MAX)[:NAMES_MAX])
