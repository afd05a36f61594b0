"""A Typer group that imports and builds a command only when it is called or its own help is asked for.

Groups print their help from the vocabulary alone. That keeps `consumer --help` fast however many commands there are.
"""

from collections.abc import Iterator, MutableMapping
from importlib import import_module
from typing import Any

from typer.core import TyperGroup
from typer.main import get_command_from_info

from cli.commands.vocabulary import COMMANDS, Noun, Verb
from cli.quick_params import quicken


class LazyCommands(MutableMapping[str, Any]):
    """The commands of one group by name; reading one builds it."""

    def __init__(self, entries: dict[str, Noun | Verb]) -> None:
        self.entries = entries
        self._built: dict[str, Any] = {}

    def __getitem__(self, name: str) -> Any:
        if name not in self._built:
            entry = self.entries[name]
            self._built[name] = _noun(name, entry) if isinstance(entry, Noun) else _verb(name, entry)
        return self._built[name]

    def __setitem__(self, name: str, command: Any) -> None:
        self._built[name] = command

    def __delitem__(self, name: str) -> None:
        del self._built[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.entries)

    def __len__(self) -> int:
        return len(self.entries)


class LazyGroup(TyperGroup):
    """A group over `entries`; the root of the program when none are given."""

    def __init__(self, *, entries: dict[str, Noun | Verb] | None = None, **attributes: Any) -> None:
        super().__init__(**attributes)
        self.entries = COMMANDS if entries is None else entries
        self.commands = LazyCommands(self.entries)

    def format_commands(self, ctx: Any, formatter: Any) -> None:  # noqa: ARG002 the base class calls it so
        rows = [(name, entry.summary) for name, entry in self.entries.items()]
        with formatter.section("Commands"):
            formatter.write_dl(rows)

    def shell_complete(self, ctx: Any, incomplete: str) -> list[Any]:
        from typer._click.shell_completion import CompletionItem

        if incomplete.startswith("-"):
            return super().shell_complete(ctx, incomplete)
        fitting = [(name, entry) for name, entry in self.entries.items() if name.startswith(incomplete)]
        return [CompletionItem(name, help=entry.summary) for name, entry in fitting]


def _noun(name: str, noun: Noun) -> LazyGroup:
    entries: dict[str, Noun | Verb] = {**noun.verbs}
    group = LazyGroup(name=name, entries=entries, help=noun.summary, no_args_is_help=True, rich_markup_mode=None)
    quicken(group)
    return group


def _verb(name: str, verb: Verb) -> Any:
    app = import_module(verb.module).app
    (info,) = (info for info in app.registered_commands if info.name == verb.name)
    command = get_command_from_info(info, pretty_exceptions_short=False, rich_markup_mode=None)
    command.name = name
    quicken(command)
    return command
