"""How large the numbers and texts are that cross a process boundary; decoding refuses what is beyond.

PostgreSQL's columns are the reason: a number that no column holds, or a text with a NUL, would break the write of a
whole batch, and with it every honest worker's news. Bounds are checked when bytes are decoded, not on construction.
"""

from typing import Annotated, TypeAlias

from msgspec import Meta

#: An id or a counter that only grows.
Id: TypeAlias = Annotated[int, Meta(ge=0, le=(1 << 63) - 1)]
#: Bytes, or milliseconds of use. Room is left for adding a few of them in a bigint.
Amount: TypeAlias = Annotated[int, Meta(ge=0, le=1 << 62)]
#: What an `integer` column holds.
Small: TypeAlias = Annotated[int, Meta(ge=0, le=(1 << 31) - 1)]
ExitStatus: TypeAlias = Annotated[int, Meta(ge=-(1 << 31), le=(1 << 31) - 1)]
#: Unix milliseconds, until the year 2248.
TimeMs: TypeAlias = Annotated[int, Meta(ge=0, le=1 << 43)]
#: Names, digests, versions.
Word: TypeAlias = Annotated[str, Meta(max_length=256, pattern=r"^[^\x00]*$")]
#: Sentences for people.
Sentence: TypeAlias = Annotated[str, Meta(max_length=16_384, pattern=r"^[^\x00]*$")]
#: The same for what a flood of messages is made of: to match a pattern five times costs two thirds of decoding an end.
#: Who decodes these looks for NULs itself (`codec.py`).
BareWord: TypeAlias = Annotated[str, Meta(max_length=256)]
BareSentence: TypeAlias = Annotated[str, Meta(max_length=16_384)]
