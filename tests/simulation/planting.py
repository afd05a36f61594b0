"""Bugs as changes of source text: the product carries no switches, and a bug whose text is gone says so itself."""

import inspect
import sys
import textwrap
from types import FunctionType
from typing import Any

import pytest


def plant(patch: pytest.MonkeyPatch, owner: Any, name: str, old: str, new: str) -> None:
    """Compile `owner.name` with `old` replaced by `new`, and put it wherever the function is known by its name."""
    found = inspect.getattr_static(owner, name)
    function: FunctionType = inspect.unwrap(getattr(owner, name))
    source = textwrap.dedent(inspect.getsource(function))
    assert source.count(old) == 1, f"{name} has {old!r} {source.count(old)} times: the planted bug must be renewed"
    made: dict[str, Any] = {}
    code = compile(
        "from __future__ import annotations\n" + source.replace(old, new), function.__code__.co_filename, "exec"
    )
    exec(code, function.__globals__, made)
    if inspect.isclass(owner):
        patch.setattr(owner, name, made[name])
        return
    for module in list(sys.modules.values()):
        if getattr(module, name, None) is found:
            patch.setattr(module, name, made[name])
