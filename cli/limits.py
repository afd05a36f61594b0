"""What the commands about limits share: numbers that may be `none`, and how a taken limit looks."""

from typing import Any

import typer
from msgspec import Struct, structs

#: A number, a size, or `none`; empty where the flag was not given.
LimitText = str
_TEXTS = ("max_memory", "placement")


def changes_of(flags: Struct) -> dict[str, Any]:
    """Return the body of a request from those flags that were given."""
    return {name: _value(name, text) for name, text in structs.asdict(flags).items() if text}


def _value(name: str, text: str) -> Any:
    if text == "none" and name not in ("placement", "weight"):
        return None
    if name in _TEXTS:
        return text
    try:
        number = float(text)
    except ValueError:
        flag = f"--{name.replace('_', '-')}"
        raise typer.BadParameter(
            f"{text!r} is no number; write it like 4, or none for no limit", param_hint=flag
        ) from None
    return int(number) if number.is_integer() else number


def placed(count: Any, limit: Any) -> str:
    """Return `count/limit`, or the count alone where there is no limit."""
    return f"{count}" if limit is None else f"{count}/{limit}"
