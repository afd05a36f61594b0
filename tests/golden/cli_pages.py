"""docs/cli.md, made of the command line itself: every command with its words, flags and examples, as its help has them.

`python tests/golden/cli_pages.py` prints it; `make golden` writes it.
"""

import re
import sys
from collections.abc import Iterator
from typing import Any

from documents import documents

from cli import exits
from cli.commands.vocabulary import COMMANDS, Noun
from cli.documents import PRINTED
from cli.lazy_group import LazyCommands
from swarmsync.protocol.schema import describe

INTRO = """\
# The command line

Made from the program itself by `make golden`; a test compares the two.

`consumer NOUN VERB` works on one kind of thing, and a few verbs stand alone. `consumer COMMAND --help` prints what is
here. `--install-completion` makes the shell complete commands, ids, names, labels and states.

Jobs are named by their id, the beginning of one (4 characters at least), `last`, `@name`, or as members of an array,
`JOB[7]` and `JOB[3-7]`. Lists take `-o table|wide|json|jsonl|yaml|name`, `--columns`, `-q`, `--watch`, `--no-headers`
and `--limit`. Colour is only on a terminal and not under `NO_COLOR`. `SWARMSYNC_URL`, `SWARMSYNC_TOKEN` and
`SWARMSYNC_PROFILE` go before the profile that a login has written.
"""
CODES = """\
## Exit codes

| code | of a management command |
| --- | --- |
| 0 | done |
| 1 | the answer is no: a job did not succeed, a flag cannot be honoured, a check failed |
| 2 | the command line or the request is wrong |
| 3 | there is no such thing |
| 4 | not logged in, or not allowed |
| 5 | conflict with what is so already |
| 6 | Core cannot be reached |
| {timed_out} | the wait timed out |
| 8 | over a limit; try later |

What is attached to a job (`run`, `wait --exit-code`) ends with the container's code; {run_timed_out} is its time-out,
{fault} a fault or refusal of SwarmSync, 126 and 127 are as with `docker run`, 128+n is signal n, {interrupted}
interrupted.
"""

JSON = """\
## JSON

`-o json` prints what the API answers, with the schemas of `/v1/openapi.json` (docs/http.md shows them), and of several
specs in one file a list of it; `-o jsonl` of a list prints one entry a line. `events` and `log follow` print one object
a line, and with `-o yaml` documents that each begin with `---`. `-o name` prints the word that names a thing in the next
command: the id of a job, of most others the name. These documents are the command line's own:
"""

#: Said once, in the introduction.
OF_EVERY_LIST = ("output", "columns", "quiet", "watch", "no_headers", "limit")


def document() -> str:
    commands = LazyCommands(COMMANDS)
    codes = CODES.format(
        timed_out=exits.WAIT_TIMED_OUT,
        run_timed_out=exits.TIMED_OUT,
        fault=exits.SWARMSYNC_FAULT,
        interrupted=exits.INTERRUPTED,
    )
    _, schemas = describe(PRINTED, "#/$defs/{name}")
    parts = [INTRO, codes, f"{JSON}\n" + "\n\n".join(documents(schemas)) + "\n"]
    for name, entry in COMMANDS.items():
        if not isinstance(entry, Noun):
            parts.append(page("##", name, commands[name]))
        elif entry.summary.startswith("Same as"):
            parts.append(f"## {name}\n\n{entry.summary}\n")
        else:
            parts.append(f"## {name}\n\n{entry.summary}\n")
            parts += [page("###", f"{name} {verb}", commands[name].commands[verb]) for verb in entry.verbs]
    return "\n".join(parts)


def page(level: str, name: str, command: Any) -> str:
    arguments = [param for param in command.params if param.param_type_name == "argument"]
    usage = " ".join(["consumer", name, "[flags]", *map(_argument, arguments)])
    lines = [f"{level} {name}", "", f"    {usage}", "", *_paragraphs(command.help or "")]
    flags = [param for param in command.params if param.param_type_name == "option" and not param.hidden]
    if any(param.name == "columns" for param in flags):
        flags = [param for param in flags if param.name not in OF_EVERY_LIST]
    if flags:
        lines += ["| flag | |", "| --- | --- |", *map(_flag, flags), ""]
    examples = [line.strip() for line in (command.epilog or "").splitlines()[2:]]
    return "\n".join([*lines, *(["```", *examples, "```", ""] if examples else [])])


def _argument(param: Any) -> str:
    name = param.metavar or param.name.upper()
    name = name if param.nargs == 1 else f"{name}..."
    return name if param.required else f"[{name}]"


def _flag(param: Any) -> str:
    value = "" if param.is_flag else f" {param.metavar or 'VALUE'}"
    names = ", ".join(f"`{name}{value}`" for name in param.opts)
    words = (param.help or "").replace("|", "\\|").replace("\n", " ")
    return f"| {names.replace('|', chr(92) + '|')} | {words} |"


def _paragraphs(text: str) -> Iterator[str]:
    for paragraph in re.split(r"\n\s*\n", text.strip()):
        yield from (" ".join(paragraph.split()), "")


if __name__ == "__main__":
    sys.stdout.write(document())
