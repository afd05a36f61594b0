"""Every command and every flag, typed against one real Core: a table of lines, each with its exit code.

What is not in the table is not tested: the last test compares it with the vocabulary. The commands run in this process,
through the entry of the program; what whole processes, terminals and containers add is in the other files.
"""

import collections
import io
import json
import select
import shlex
import signal
import subprocess
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml

from cli.commands.vocabulary import COMMANDS, Noun
from cli.consumer import main
from cli.documents import PRINTED
from cli.lazy_group import LazyCommands
from tests.e2e.conftest import BIN, CoreProcess, wait_until
from tests.e2e.every_line import ALIASES, ELSEWHERE, FORMS, LINES, LISTS, ONES, PRINTS, RULE, SHOWN_BY_ALL, SPEC
from tests.published import Published

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(240)]


class Typist:
    """Types lines at one Core, in this process; keeps what they printed where the line says so."""

    def __init__(
        self, known: dict[str, str], monkeypatch: pytest.MonkeyPatch, capsysbinary: Any, published: Published
    ) -> None:
        self.known, self._monkeypatch, self._capsys = known, monkeypatch, capsysbinary
        self.published = published

    def type(self, line: str) -> tuple[int, str, str]:
        """Return the exit code and both outputs."""
        line, _, name = line.partition(" > ")
        line, _, given = line.partition(" < ")
        stdin = io.TextIOWrapper(io.BytesIO(given.strip().format(**self.known).encode()))
        self._monkeypatch.setattr("sys.stdin", stdin)
        code = main(shlex.split(line.format(**self.known)))
        out, err = (text.decode() for text in self._capsys.readouterr())
        if name:
            self.known[name.strip()] = out.strip()
        return code, out, err


@pytest.fixture(scope="module")
def core(process_core: CoreProcess) -> CoreProcess:
    return process_core


@pytest.fixture
def typist(core: CoreProcess, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsysbinary: Any) -> Typist:
    (tmp_path / "env").write_text("B=2\n")
    (tmp_path / "job.yaml").write_text("image: i\nname: filed\ndelay: 1h\n")
    (tmp_path / "small.yaml").write_text("image: i\nresources: {cpus: 0.1, memory: 16MiB}\n")
    (tmp_path / "compose.yaml").write_text("services: {report: {image: i, command: 'true'}}\n")
    (tmp_path / "schedule.yaml").write_text("name: filed\ncron: '0 5 * * *'\njob: {image: i}\n")
    (tmp_path / "change.yaml").write_text("job: {priority: 7}\n")
    monkeypatch.setenv("SWARMSYNC_PROFILE", "typist")
    monkeypatch.setenv("XDG_CONFIG_HOME", core.environ["XDG_CONFIG_HOME"])
    known = {
        "dir": str(tmp_path),
        "url": f"http://127.0.0.1:{core.port}",
        "spec": SPEC.format(dir=tmp_path),
        "soon": f"{datetime.now(UTC) + timedelta(days=1):%Y-%m-%dT%H:%M:%SZ}",
        "rule": RULE,
        "zeros": "0" * 64,
    }
    known["password"] = (core.data_dir / "admin-password").read_text().strip()
    return Typist(
        known,
        monkeypatch,
        capsysbinary,
        Published(json.dumps(core.client().get("/v1/openapi.json")).encode(), *PRINTED),
    )


def lines() -> Iterator[tuple[int, str]]:
    for line in LINES.strip().splitlines():
        code, _, words = line.partition(" ")
        yield int(code), words


def test_every_line_ends_with_its_code_and_every_form_reads_back(typist):
    wrong = []
    for expected, line in lines():
        if line.startswith("schedule delete"):
            wrong += list(_forms(typist))  # while there is something to list
        code, out, err = typist.type(line)
        if code != expected:
            wrong.append((line, expected, code, err.strip()[-300:]))
        elif " -o json" in line:
            wrong += [(line, problem) for problem in _unpublished(typist, line, out)]
        assert "Traceback" not in err, (line, err)
    assert not wrong, "\n".join(map(str, wrong))


def command_of(line: str) -> str:
    """The command that a line types, by its one name."""
    words = line.split()
    noun = {"cron": "schedule"}.get(words[0], words[0])
    name = f"{noun} {words[1]}" if isinstance(COMMANDS.get(noun), Noun) and len(words) > 1 else noun
    return ALIASES.get(name, name)


def _unpublished(typist: Typist, line: str, out: str, *, page: bool = False) -> Iterator[str]:
    """Hold what a line printed against the schema that is published of it; yields what does not fit."""
    names = PRINTS[command_of(line)].split("|")
    for document in _documents(out):
        for entry in document["items"] if page else [document]:
            problems = [typist.published.wrong_named(name, entry) for name in names]
            if all(problems):
                yield min(problems, key=len)


def _documents(text: str) -> Iterator[Any]:
    """Read one document after the other: of a page there is one, of lines several."""
    decoder, text = json.JSONDecoder(), text.strip()
    while text:
        document, end = decoder.raw_decode(text)
        yield document
        text = text[end:].lstrip()


def _forms(typist: Typist) -> Iterator[tuple[Any, ...]]:
    """Type every list and every single thing in every form; yields what is wrong."""
    for words, needs in LISTS.items():
        code, out, err = typist.type(f"{words} {needs} -o json")
        page = json.loads(out) if code == 0 else {}
        if not (isinstance(page.get("items"), list) and "next_cursor" in page):
            yield words, "json", code, out[:200], err
            continue
        yield from ((words, "json", problem) for problem in _unpublished(typist, words, out, page=True))
        for form in FORMS:
            code, out, err = typist.type(f"{words} {needs} {form}")
            if code != 0 or (page["items"] and not out):
                yield words, form, code, err
            if form == "-o jsonl":
                yield from ((words, form, problem) for problem in _unpublished(typist, f"{words} {form}", out))
        column = "id" if page["items"] and "id" in page["items"][0] else ""
        code, out, err = typist.type(
            f"{words} {needs} --columns {column} --no-headers" if column else f"{words} {needs}"
        )
        if code != 0 or (column and out.split("\n")[0] != str(page["items"][0]["id"])):
            yield words, "--columns", code, out[:200], err
        first = json.loads(typist.type(f"{words} {needs} -o json --limit 1")[1] or "{}")
        if first.get("next_cursor"):
            code, out, err = typist.type(f"{words} {needs} -o json --limit 1 --cursor {first['next_cursor']}")
            if code != 0 or json.loads(out)["items"] == first["items"]:
                yield words, "--cursor", code, out[:200], err
    for words, needs in ONES.items():
        for form, read in (("json", json.loads), ("yaml", yaml.safe_load)):
            code, out, err = typist.type(f"{words} -o {form} {needs}")
            try:
                known = isinstance(read(out), dict | list)
            except ValueError:
                known = False
            if code not in (0, 1) or not known:
                yield words, form, code, out[:200], err
            elif form == "json":
                yield from ((words, form, problem) for problem in _unpublished(typist, words, out))


GOING_ON = (
    "log follow --source harvester --level info --since 1h -o jsonl",
    "events -f -o jsonl",
    "queue list --watch",
    "stats --watch",
)


@pytest.mark.parametrize("line", GOING_ON)
def test_what_goes_on_is_ended_by_an_interrupt(core, line):
    environ = {**core.environ, "SWARMSYNC_PROFILE": "local"}  # whoever logged in and out since
    client = core.client()
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    program = subprocess.Popen([BIN / "consumer", *line.split()], env=environ, **pipes)

    def wrote() -> bool:
        client.submit({"image": "i", "delay": "1h"})  # something that events tell of
        return bool(select.select([program.stdout], [], [], 0.5)[0])

    try:
        wait_until(wrote, 60)
        program.send_signal(signal.SIGINT)
        _, err = program.communicate(timeout=30)
    finally:
        program.kill()
        program.wait()
    assert b"Traceback" not in err
    assert program.returncode in (1, 130, -signal.SIGINT)


def _commands() -> Iterator[tuple[str, Any]]:
    for name, entry in COMMANDS.items():
        if isinstance(entry, Noun):
            verbs = LazyCommands({**entry.verbs})
            yield from ((f"{name} {verb}", verbs[verb]) for verb in entry.verbs)
        else:
            yield name, LazyCommands(COMMANDS)[name]


def test_every_command_and_flag_is_in_the_table():
    """A flag that is added to the program is added to the table, or this fails."""
    typed: dict[str, set[str]] = {}
    texts = [line for _, line in lines()]
    for words, needs in LISTS.items():
        texts += [f"{words} {needs} {form} --columns x --cursor x --watch" for form in FORMS]
    texts += [f"{words} {needs} -o json" for words, needs in ONES.items()]
    known = collections.defaultdict(lambda: "x", spec=SPEC, rule=RULE)
    for text in texts:
        words = shlex.split(text.partition(" > ")[0].partition(" < ")[0].format_map(known))
        typed.setdefault(command_of(text), set()).update(word for word in words if word.startswith("-"))
    missing = []
    for name, command in _commands():
        canonical = ALIASES.get(name, name).replace("cron ", "schedule ")
        if any(parameter.name == "output" for parameter in command.params) and canonical not in PRINTS:
            missing.append(f"{name}: what it prints as JSON has no schema")
        if canonical not in typed and canonical not in ELSEWHERE:
            missing.append(name)
        for parameter in command.params:
            flags = {*parameter.opts, *parameter.secondary_opts}
            if parameter.param_type_name != "option" or "--help" in flags or parameter.name in SHOWN_BY_ALL:
                continue
            if parameter.name not in ELSEWHERE.get(canonical, ()) and not flags & typed.get(canonical, set()):
                missing.append(f"{name} {max(flags, key=len)}")
    assert not missing, "\n".join(missing)
