"""How large the numbers and texts are that cross a process boundary; decoding refuses what is beyond.

PostgreSQL's columns are the reason: a number that no column holds, or a text with a NUL, would break the write of a
whole batch, and with it every honest worker's news. Bounds are checked when bytes are decoded, not on construction.
"""

from typing import Annotated, Final, TypeAlias

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
#: What PostgreSQL stores.
NO_NUL: Final = r"^[^\x00]*$"
#: Names, digests, versions.
Word: TypeAlias = Annotated[str, Meta(max_length=256, pattern=NO_NUL)]
#: Sentences for people.
Sentence: TypeAlias = Annotated[str, Meta(max_length=16_384, pattern=NO_NUL)]
#: The same two without a look for NULs, for the ends of jobs: to match a pattern five times is two thirds of decoding
#: one. Whoever decodes ends looks for NULs in all of their texts at once (`codec.py`).
UncheckedWord: TypeAlias = Annotated[str, Meta(max_length=256)]
UncheckedSentence: TypeAlias = Annotated[str, Meta(max_length=16_384)]
