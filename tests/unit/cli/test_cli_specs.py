import pytest
import typer

from cli.spec_files import merged, read_specs
from cli.spec_flags import SpecFlags, SubmitFlags


def test_flags_make_only_what_was_given():
    assert SpecFlags().document() == {}
    assert SubmitFlags().document() == {}


def test_every_flag_reaches_the_spec(monkeypatch):
    monkeypatch.setenv("PASSED_ON", "ours")
    flags = SpecFlags(
        env=["A=1", "B=x=y", "PASSED_ON", "UNSET_SURELY", "EMPTY="],
        volume=["cache:/cache:ro"],
        workdir="/w",
        user="1000:1000",
        cpus=0.5,
        memory="512m",
        pids=7,
        gpus=2,
        name="n",
        network="none",
        timeout="2h",
        retries=0,
        priority=0,
        queue="q",
        label=["team=ml", "flag"],
        constraint=["gpu.model == a100"],
        entrypoint="sh",
        stop_signal="SIGINT",
        stop_grace="3s",
        no_init=True,
    )
    assert flags.document() == {
        "name": "n",
        "environment": {"A": "1", "B": "x=y", "PASSED_ON": "ours", "EMPTY": ""},
        "working_dir": "/w",
        "user": "1000:1000",
        "init": False,
        "volumes": ["cache:/cache:ro"],
        "network": "none",
        "resources": {"cpus": 0.5, "memory": "512m", "pids": 7, "gpus": 2},
        "queue": "q",
        "priority": 0,
        "labels": {"team": "ml", "flag": ""},
        "constraints": ["gpu.model == a100"],
        "timeout": "2h",
        "stop": {"signal": "SIGINT", "grace": "3s"},
        "retry": {"attempts": 1},
        "entrypoint": ["sh"],
    }


def test_submit_flags():
    flags = SubmitFlags(array="0-19", delay="15m", after=["J1", "J2:finished"])
    assert flags.document() == {
        "array": {"range": "0-19"},
        "delay": "15m",
        "after": [{"job": "J1"}, {"job": "J2", "when": "finished"}],
    }


def test_an_empty_entrypoint_takes_away_the_images_own():
    assert SpecFlags(entrypoint="").document() == {"entrypoint": []}


def test_env_files_come_before_env_flags(tmp_path):
    file = tmp_path / "env"
    file.write_text("# comment\n\nA=1\n  B=two words\n")
    assert SpecFlags(env_file=[str(file)], env=["A=2"]).document() == {"environment": {"A": "2", "B": "two words"}}
    with pytest.raises(typer.BadParameter, match="cannot read"):
        SpecFlags(env_file=[str(tmp_path / "none")]).document()


@pytest.mark.parametrize("flags", [SpecFlags(env=["=x"]), SpecFlags(label=["=x"])])
def test_pairs_need_names(flags):
    with pytest.raises(typer.BadParameter):
        flags.document()


@pytest.mark.parametrize(
    ("text", "specs"),
    [
        ("image: a\n", [{"image": "a"}]),
        ("image: a\n---\nimage: b\n---\n", [{"image": "a"}, {"image": "b"}]),
        ("- image: a\n- image: b\n", [{"image": "a"}, {"image": "b"}]),
        ('{"image": "a"}', [{"image": "a"}]),
        ('[{"image": "a"}]', [{"image": "a"}]),
        ('{"jobs": [{"image": "a"}, {"image": "b"}]}', [{"image": "a"}, {"image": "b"}]),
        ('{"image": "a"}\n{"image": "b"}\n', [{"image": "a"}, {"image": "b"}]),
        ("{image: a, command: [x]}", [{"image": "a", "command": ["x"]}]),
        ("\ufeffimage: a\n", [{"image": "a"}]),
        ('{"image": "a", "name": "x\u2028y"}\n{"image": "b"}', [{"image": "a", "name": "x\u2028y"}, {"image": "b"}]),
    ],
)
def test_files_of_every_form(tmp_path, text, specs):
    file = tmp_path / "specs"
    file.write_text(text)
    assert read_specs(str(file)) == specs


def test_yaml_means_what_people_wrote(tmp_path):
    file = tmp_path / "spec.yaml"
    file.write_text(
        "image: a\ncommand: [yes, no, on]\nrun_at: 2026-11-24T02:00:00+01:00\ninit: false\n"
        "environment: {A: 1, B: 1.5, C: 22:22, D: 010, E: ~, F: 1e3, G: -7}\narray: {range: 0-9}\n"
    )
    assert read_specs(str(file)) == [
        {
            "image": "a",
            "command": ["yes", "no", "on"],
            "run_at": "2026-11-24T02:00:00+01:00",
            "init": False,
            "environment": {"A": 1, "B": 1.5, "C": "22:22", "D": "010", "E": None, "F": 1000.0, "G": -7},
            "array": {"range": "0-9"},
        }
    ]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("image: a\nimage: b\n", "occurs twice"),
        ("image: [\n", "line"),
        ("just words", "is not a spec but str"),
        ("", "there is no spec"),
        ("image: !!python/object/apply:os.system [id]\n", "could not determine a constructor"),
        ("[" * 100_000, "nested too deeply"),
        ("a: " + "[" * 100_000, "nested too deeply"),
        ('{"a":' * 100_000, "nested too deeply"),
        (f"priority: {'9' * 5000}\n", "5000 digits, 19 at most"),
        (f'{{"priority": {"9" * 5000}}}', "5000 digits, 19 at most"),
        ('{"image": "a", "image": "b"}', "'image' occurs twice"),
        ('{"image": "a"}\n{"labels": {"x": "1", "x": "2"}}\n', "'x' occurs twice"),
        ('{"priority": NaN}', "NaN is no number"),
        ("priority: !!int abc\n", "invalid literal"),
        ("run_at: !!timestamp abc\n", "not what it is said to be"),
        ("environment: {~: a}\n", "the key None is no word"),
    ],
)
def test_bad_files_say_why(tmp_path, text, said):
    file = tmp_path / "spec.yaml"
    file.write_text(text)
    with pytest.raises(typer.BadParameter, match=said):
        read_specs(str(file))


def test_bad_json_is_told_as_json(tmp_path):
    file = tmp_path / "spec.json"
    file.write_text('{"image": }')
    with pytest.raises(typer.BadParameter, match="Expecting value"):
        read_specs(str(file))


def test_flags_go_before_the_files_values():
    spec = {"image": "a", "resources": {"cpus": 2, "memory": "1g"}, "labels": {"a": "1"}}
    flags = {"resources": {"cpus": 4}, "labels": {"b": "2"}, "priority": 80}
    assert merged(spec, flags) == {
        "image": "a",
        "resources": {"cpus": 4, "memory": "1g"},
        "labels": {"a": "1", "b": "2"},
        "priority": 80,
    }


def test_flags_are_laid_over_an_environment_that_is_a_list():
    spec = {"environment": ["A=0", "B=2", "C", 7]}
    assert merged(spec, {"environment": {"A": "1", "D": "x=y"}}) == {"environment": ["B=2", "C", 7, "A=1", "D=x=y"]}
