"""Reads words, numbers and choices of the command line without Pydantic, which Typer would import for every parameter.

That import costs more than the rest of a start together. What is not as simple as this goes Typer's own way.
"""

import math
from dataclasses import dataclass
from typing import Any, Literal, get_args, get_origin

import typer
from typer._click.decorators import help_option
from typer._coercion import RuntimeParam, build_runtime_param


def quicken(command: Any) -> None:
    """Let the parameters of a built command, and its --help, be read by `QuickParam`."""
    help_option(["--help"])(command)
    command._help_option = command.params.pop()  # noqa: SLF001 where Typer keeps it once it has made it
    for param in [*command.params, command._help_option]:  # noqa: SLF001
        descriptor = param.type_descriptor
        param._runtime_param = QuickParam(descriptor.parameter_info, descriptor.annotation, descriptor)  # noqa: SLF001


@dataclass(frozen=True)
class QuickParam(RuntimeParam):
    """Coercion of one parameter. Raises BadParameter with a sentence."""

    descriptor: Any

    def _coerce_value(self, value: Any, param: Any, ctx: Any) -> Any:
        kind: Any = self.annotation
        if kind is str or kind == list[str]:
            return value
        if kind is int or kind is float:
            return self._number(value, param)
        if get_origin(kind) is Literal:
            if value not in get_args(kind):
                raise typer.BadParameter(f"{value!r} is not one of {', '.join(get_args(kind))}.", ctx=ctx, param=param)
            return value
        return build_runtime_param(self.descriptor).coerce(value, param=param, ctx=ctx)

    def _number(self, value: Any, param: Any) -> float:
        whole = self.annotation is int
        try:
            number = int(value) if whole else float(value)
        except ValueError:
            said = f"{value!r} is not a {'whole ' if whole else ''}number; write it like {param.opts[-1]} 2."
            raise typer.BadParameter(said, param=param) from None
        least, most = self.parameter_info.min, self.parameter_info.max
        if not math.isfinite(number) or (least is not None and number < least) or (most is not None and number > most):
            raise typer.BadParameter(f"{value!r} is out of range.", param=param)
        return number
