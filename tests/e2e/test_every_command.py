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
from cli.lazy_group import LazyCommands
from tests.e2e.conftest import BIN, CoreProcess, wait_until

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(240)]

#: Flags that all specs have; with them a job fits no worker of this Core, so it waits.
SPEC = (
    "-e A=1 --env-file {dir}/env -v cache:/cache -w /w -u 1000 --cpus 0.1 -m 32m --pids-limit 9 --gpus 1 --network none"
    " --timeout 1h --retries 1 --priority 9 --queue table -l team=table --constraint 'worker.name == nobody'"
    " --entrypoint sh --stop-signal SIGINT --stop-grace 1s --no-init"
)
RULE = "--tz Europe/Berlin --overlap skip --misfire last --misfire-window 1h --jitter 1m --start 2026-01-01T00:00:00Z"
RULE += " --end 2099-01-01T00:00:00Z"
#: Exit code, line; `> name` keeps what was printed, `{name}` stands for it; `<` is standard input.
LINES = """
0 login --url {url} --username admin --password-stdin < {password}
4 login --url {url} --username admin --password-stdin < wrong
2 login --url {url}
0 whoami
0 queue create table --max-running 3 --max-running-per-user 2 --max-waiting 50 --max-cpus 4 --max-memory 8GiB --placement spread --weight 2 --paused
5 queue create table
0 queue resume table
0 queue pause table
0 queue resume table
0 queue update table --max-running none --max-running-per-user none --max-waiting 60 --max-cpus none --max-memory none --placement pack --weight 3
2 queue update table
0 queue create brief
0 queue delete -y brief
0 queue show table
3 queue show nothing
0 user create ann --role user --password-stdin < a long password of ann 1
0 user create bot --no-password
2 user create eve
0 user show ann
3 user show nobody
0 user update ann --role operator
0 user update ann --disable
0 user update ann --enable
0 user update ann --password-stdin < another password of ann 2
2 user update ann --set-password
2 user passwd
0 user logout ann
0 token create t1 --scope jobs:read --days 3 --user ann
0 token create t2 --scope '*'
0 token revoke t2
0 key create --file {dir}/key
0 key add laptop --file {dir}/key.pub --password-stdin < {password}
2 key add other --file {dir}/key.pub --user ann
0 login --url {url} --username admin --key {dir}/key
0 key remove laptop
3 key remove laptop
0 secret set pw < value
0 secret set pw --from-file {dir}/env
2 secret set empty
0 secret delete pw -y
3 secret delete pw
0 registry add -u me --password-stdin r.example:5000 < pass
0 registry remove r.example:5000
0 policy set user ann --path /srv/data:ro --capability SYS_PTRACE --device /dev/null --machine-network --privileged --strict
0 policy delete user ann
0 limit set-user ann --max-running 5 --max-cpus 4 --max-memory 8GiB --max-gpus 1 --weight 2
0 limit show-user ann
0 limit clear-user ann
0 limit show table --kind queue
0 run --name done -l team=table --cpus 0.1 -m 16m i sh -c 'echo out; echo err >&2'
3 run --name fails --cpus 0.1 -m 16m i sh -c 'exit 3'
125 run --cpus nonsense i true
0 run -d {spec} --name waits i true > waits
0 job create {spec} --name later --run-at {soon} i true > later
0 job create {spec} --delay 1h --after {waits} --array 0-3 --name arr i true > arr
0 job create -f {dir}/job.yaml > filed
0 submit {spec} --delay 1h --after {waits} --array 0-1 i true > second
0 submit {spec} --run-at {soon} i true
0 submit -f - --name renamed < {{image: i, delay: 1h}}
2 job create -f - < {{imge: i}}
0 job validate {spec} --name v --array 0-3 --delay 1h --after {waits} i true
0 job validate {spec} --run-at {soon} i true
0 job validate -f {dir}/job.yaml
0 job schema
8 job plan {spec} --name p --delay 1h --array 0-1 --after {waits} i true
8 job plan {spec} --run-at {soon} i true
0 job plan -f {dir}/small.yaml
0 job from-docker docker run -e A=1 i true
1 job from-docker docker run -p 80:80 i true
0 job from-compose {dir}/compose.yaml report
0 job show @done
0 job show last
3 job show zzzzzzzzzzzzz
2 job show 0an
0 job why @waits
0 job result @done
0 job verify @done
3 job get @done nothing
3 job get @done -o {dir}/got
3 job get --tar @done nothing
0 job logs @done
0 job logs -f --tail 1 --since 1h --attempt 1 --stdout @done
0 job logs --stderr -t @done
0 job logs --grep ou. -l team=table --name done -s finished -u admin --limit 5
0 job logs --grep nothing-like-it --queue default
0 job wait -q @done
1 job wait @fails
3 job wait --exit-code @fails
0 job wait --any @done {waits}
7 job wait --timeout 0s {waits}
0 job update {waits} --name waited --priority 3 --timeout 2h --queue default -l a=b
0 job hold {waits}
0 job release {waits}
0 job rerun @fails > again
1 job wait {again}
0 job rerun --failed @fails
0 job cancel {waits} --reason enough --wait -y
5 job cancel {waits}
0 job kill -y {later}
0 job delete -y {later}
0 job delete {arr}
0 job list --all --user admin --queue default --name done -l team=table --since 1h
0 job list -s failed --worker w1
0 job list --array {arr}
2 job list --state nonsense
0 ps --all --user admin --queue table --name arr -l team=table --since 1h
0 ps -s active --worker w1
0 ps --array {arr}
0 schedule create {rule} --cron '0 3 * * *' {spec} --name nightly i true > nightly
0 schedule create --at 2099-01-01T00:00:00Z --name once i true
0 cron create --delay 9h --name delayed i true
0 schedule create -f {dir}/schedule.yaml
5 schedule create --cron @daily --name nightly i true
2 schedule create --cron 'not a rule' --name wrong i true
0 schedule preview {rule} --cron 'H 2 * * *' --name x -n 2 --from 2026-11-01T00:00:00Z
0 schedule preview --at 2099-01-01T00:00:00Z
0 cron preview --delay 1h
0 schedule preview -f {dir}/schedule.yaml
0 schedule list --name nightly --active --user admin
0 schedule list --paused
0 schedule show nightly
3 schedule show nothing
0 schedule update nightly {rule} --cron '0 4 * * *' {spec} --image j
0 schedule update nightly --name nightly2
2 schedule update nightly2 --at 2099-01-01T00:00:00Z
0 schedule update once --at 2099-02-01T00:00:00Z
0 schedule update once --delay 9h
0 schedule update nightly2 -f {dir}/change.yaml
0 schedule pause nightly2
0 schedule resume nightly2
0 schedule trigger nightly2
0 schedule history nightly2
0 cron list
0 schedule delete -y nightly2 once delayed filed
0 job list --schedule {nightly}
0 ps --schedule {nightly}
0 worker register --name w9 --minutes 5
0 worker show w1
3 worker show nothing
0 worker update w1 -l zone=eu
0 worker list -l zone=eu
0 worker cordon w1
0 worker uncordon w1
0 worker drain w1 --deadline 1m --wait
0 worker uncordon w1
3 worker delete -y nothing
3 worker revoke -y nothing
0 log record 'replaced a disk' --level warning --source shelf --job @done > record
0 log show {record}
0 log update {record} --message 'replaced both' --level error
0 log list --source shelf --level error --job @done --since 1h --text both
0 log search replaced --source shelf --level error --job @done --since 1h
0 log delete {record}
3 log show {record}
0 inspect jobs --snapshot -u admin -s active --queue default --worker w1 --text x
0 inspect jobs --snapshot --at -1s
2 inspect jobs --speed 0
0 inspect core --snapshot
0 stats
0 events --job @done
0 doctor
2 main-menu
0 audit list --user admin --action 'queue deleted' --since 1h
0 audit verify
1 audit verify --head 1:{zeros}
0 limit list --kind queue
0 session list
3 session end 0123456789abcdef
0 user delete -y bot
2 nonsense
2 job nonsense
2 job show
0 logout
4 whoami
0 --version
"""

#: Every list is typed in each of these ways; the words in front of them are what the list needs.
LISTS = {
    "job list": "", "ps": "", "schedule list": "", "schedule history": "nightly2", "worker list": "", "log list": "",
    "log search": "worker", "queue list": "", "secret list": "", "user list": "", "token list": "", "key list": "",
    "registry list": "", "policy list": "", "limit list": "", "limit show": "table --kind queue", "session list": "",
    "audit list": "",
}  # fmt: skip
FORMS = ("-o wide", "-o yaml", "-o name", "-o jsonl", "-q", "--no-headers", "--limit 1")
#: What shows one thing, and what it needs.
ONES = {
    "job show": "@done", "job result": "@done", "job why": "@done", "job verify": "@done", "schedule show": "nightly2",
    "worker show": "w1", "queue show": "table", "user show": "ann", "limit show-user": "ann", "whoami": "", "stats": "",
    "doctor": "", "audit verify": "", "job validate": "i true", "job plan": "i true", "schedule preview": "--delay 1h",
    "inspect core": "--snapshot", "inspect jobs": "--snapshot",
}  # fmt: skip
#: Typed elsewhere: they go on until they are interrupted.
#: Printing is the same code for all, and typed for those above.
SHOWN_BY_ALL = {"output"}
ELSEWHERE = {
    "login": {"ca"},
    "log follow": {"source", "level", "job", "since", "output"},
    "events": {"follow"},
    "stats": {"watch"},
}
ALIASES = {"ps": "job list", "submit": "job create"}


class Typist:
    """Types lines at one Core, in this process; keeps what they printed where the line says so."""

    def __init__(self, known: dict[str, str], monkeypatch: pytest.MonkeyPatch, capsysbinary: Any) -> None:
        self.known, self._monkeypatch, self._capsys = known, monkeypatch, capsysbinary

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
def core(tmp_path_factory: pytest.TempPathFactory) -> Iterator[CoreProcess]:
    core = CoreProcess(tmp_path_factory.mktemp("core"), '[worker]\nruntime = "process"\nname = "w1"\n')
    core.start()
    core.ready()
    yield core
    core.stop()


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
    return Typist(known, monkeypatch, capsysbinary)


def lines() -> Iterator[tuple[int, str]]:
    for line in LINES.strip().splitlines():
        code, _, words = line.partition(" ")
        yield int(code), words


def test_every_line_ends_with_its_code_and_every_form_reads_back(typist):
    wrong = []
    for expected, line in lines():
        if line.startswith("schedule delete"):
            wrong += list(_forms(typist))  # while there is something to list
        code, _, err = typist.type(line)
        if code != expected:
            wrong.append((line, expected, code, err.strip()[-300:]))
        assert "Traceback" not in err, (line, err)
    assert not wrong, "\n".join(map(str, wrong))


def _forms(typist: Typist) -> Iterator[tuple[Any, ...]]:
    """Type every list and every single thing in every form; yields what is wrong."""
    for words, needs in LISTS.items():
        code, out, err = typist.type(f"{words} {needs} -o json")
        page = json.loads(out) if code == 0 else {}
        if not (isinstance(page.get("items"), list) and "next_cursor" in page):
            yield words, "json", code, out[:200], err
            continue
        for form in FORMS:
            code, out, err = typist.type(f"{words} {needs} {form}")
            if code != 0 or (page["items"] and not out):
                yield words, form, code, err
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
        noun = {"cron": "schedule"}.get(words[0], words[0])
        name = f"{noun} {words[1]}" if isinstance(COMMANDS.get(noun), Noun) and len(words) > 1 else noun
        typed.setdefault(ALIASES.get(name, name), set()).update(word for word in words if word.startswith("-"))
    missing = []
    for name, command in _commands():
        canonical = ALIASES.get(name, name).replace("cron ", "schedule ")
        if canonical not in typed and canonical not in ELSEWHERE:
            missing.append(name)
        for parameter in command.params:
            flags = {*parameter.opts, *parameter.secondary_opts}
            if parameter.param_type_name != "option" or "--help" in flags or parameter.name in SHOWN_BY_ALL:
                continue
            if parameter.name not in ELSEWHERE.get(canonical, ()) and not flags & typed.get(canonical, set()):
                missing.append(f"{name} {max(flags, key=len)}")
    assert not missing, "\n".join(missing)
