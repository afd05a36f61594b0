"""Options that several commands share, declared once as a Struct: `@bundled` makes flags of its fields.

class Paging(Struct, frozen=True):
    limit: Annotated[int, typer.Option(help="...")] = 50

@app.command("list")
@bundled
def list_things(paging: Paging) -> None: ...      # has --limit
"""

import functools
import inspect
from collections.abc import Callable
from typing import Any, get_type_hints

from msgspec import Struct


def bundled(command: Callable[..., None]) -> Callable[..., None]:
    """Return `command` with each parameter that is a Struct replaced by the Struct's fields."""
    hints = get_type_hints(command, include_extras=True)
    bundles: dict[str, tuple[type[Struct], list[str]]] = {}
    flat: list[inspect.Parameter] = []
    for name, parameter in inspect.signature(command).parameters.items():
        kind = hints[name]
        if isinstance(kind, type) and issubclass(kind, Struct):
            fields = list(inspect.signature(kind).parameters.values())
            bundles[name] = (kind, [field.name for field in fields])
            flat += [field.replace(kind=inspect.Parameter.KEYWORD_ONLY) for field in fields]
        else:
            flat.append(parameter.replace(annotation=kind, kind=inspect.Parameter.KEYWORD_ONLY))

    @functools.wraps(command)
    def spread(**values: Any) -> None:
        for name, (kind, fields) in bundles.items():
            values[name] = kind(**{field: values.pop(field) for field in fields})
        command(**values)

    spread.__signature__ = inspect.Signature(flat)  # type: ignore[attr-defined]  # read by Typer
    spread.__annotations__ = {parameter.name: parameter.annotation for parameter in flat}
    del spread.__wrapped__  # else the original signature would be found through it
    return spread


def examples(*lines: str) -> str:
    """Return an epilog that shows `lines` as they are; Typer would fold them otherwise."""
    return "\n".join(["\b", "Examples:", *(f"  {line}" for line in lines)])
