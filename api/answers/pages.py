"""What several documents have: pages, moments, names of streams and levels."""

from typing import Annotated, Generic, Literal, TypeAlias, TypedDict, TypeVar

from msgspec import Meta

T = TypeVar("T")
Moment: TypeAlias = Annotated[str, Meta(extra_json_schema={"format": "date-time"})]
StreamName: TypeAlias = Literal["stdout", "stderr"]
Level: TypeAlias = Literal["debug", "info", "warning", "error"]
Labels: TypeAlias = dict[str, str]


class Page(TypedDict, Generic[T]):
    """A page of a list. `next_cursor` asks for the next one; null: this was the last."""

    items: list[T]
    next_cursor: str | None
