"""A replay at its edges: what fits nowhere, times without end, amounts that are no whole numbers, and how it goes on."""

import json

import pytest
from typer.testing import CliRunner

from bench.bench import app
from bench.joblogs import LoggedJob, LoggedWorker
from bench.scenarios import replay
from bench.virtual import NothingFits, Pool, run
from engine.scheduler.ranking import POLICIES

HEADER = "submit_s,runtime_s,cpus,mem_mb,gpus,user,priority,walltime_s"
FIVE = ["0,10,1,0,0,u,0,20"] * 5
runner = CliRunner()


def log(tmp_path, *rows):
    path = tmp_path / "log.csv"
    path.write_text("\n".join([HEADER, *rows]) + "\n")
    return str(path)


def one_line(done, exit_code):
    """Return what a refusal says, which is a line and no traceback."""
    assert (done.exit_code, done.output.count("\n"), done.stdout) == (exit_code, 1, ""), done.output
    return done.stderr


def ran(*jobs, cpus=4.0, time_scale=1.0, **more):
    pool = Pool((LoggedWorker("pool", cpus, 0, 0),), "cpus")
    logged = [LoggedJob(submit_s, runtime_s, wide) for submit_s, runtime_s, wide in jobs]
    return run(logged, pool, POLICIES["easy"], time_scale=time_scale, **more)


@pytest.mark.parametrize("cpus", [16.1, 1.005, 1.0005, 0.07])
def test_a_job_of_all_that_a_worker_has_fits_it(cpus):
    assert ran((0, 10, cpus), cpus=cpus).waits_s == [0]


def test_no_time_is_too_late_for_the_virtual_clock():
    assert ran((0, 10, 1), (3e7, 10, 1), time_scale=1e11).waits_s == [0, 0]


def test_a_job_that_came_before_the_clock_began_is_counted_as_any():
    assert ran((-1, 10, 4), (0, 10, 4)).waits_s == [0, 9]


def test_jobs_that_fit_nowhere_are_told_and_do_not_lengthen_the_queue():
    outcome = ran(*[(0, 10, 5)] * 20, (0, 10, 4), (0, 10, 4), (1, 10, 9))
    assert (outcome.waits_s, outcome.never, outcome.queue_max) == ([0, 10], 21, 1)


def test_where_no_job_fits_there_is_nothing_to_tell(tmp_path):
    with pytest.raises(NothingFits, match="none of the 2 jobs fits"):
        ran((0, 10, 5), (0, 10, 6))
    done = runner.invoke(app, ["replay", log(tmp_path, "0,10,4,0,0,u,0,"), "--cpus", "2", "--json"])
    assert "none of the 1 jobs fits a worker: they lack cpus" in one_line(done, 1)


def test_the_command_tells_how_many_jobs_never_run(tmp_path):
    path = log(tmp_path, *FIVE, "0,10,3,0,0,u,0,")
    done = runner.invoke(app, ["replay", path, "--cpus", "2", "--policy", "easy", "--json"])
    seen = json.loads(done.stdout)["policies"]["easy"]
    assert (seen["placed"], seen["never"]) == (5, 1)
    assert "1 of 6 jobs fit no worker and never run" in done.stderr


@pytest.mark.parametrize(
    ("rows", "option", "what"), [(FIVE, "--gpus", "GPUs"), (["0,10,0,0,1,u,0,"], "--cpus", "cpus")]
)
def test_a_pool_of_what_no_job_asks_for_is_refused(tmp_path, rows, option, what):
    done = runner.invoke(app, ["replay", log(tmp_path, *rows), option, "4"])
    assert f"log.csv: no job asks for {what}" in one_line(done, 2)


def test_workers_of_which_no_job_asks_for_anything_are_refused(tmp_path):
    workers = tmp_path / "workers.csv"
    workers.write_text("name,cpus,mem_mb,gpus\nw1,16,65536,4\n")
    done = runner.invoke(app, ["replay", log(tmp_path, "0,10,0,0,0,u,0,"), "--workers", str(workers)])
    assert "no job asks for cpus, memory or GPUs" in one_line(done, 2)


@pytest.mark.parametrize("scale", ["1e9", "1e11"])
def test_a_time_scale_of_ten_thousand_years_is_refused(tmp_path, scale):
    path = log(tmp_path, *FIVE, "30000000,10,1,0,0,u,0,20")
    done = runner.invoke(app, ["replay", path, "--cpus", "2", "--time-scale", scale])
    assert "--time-scale" in one_line(done, 2)
    done = runner.invoke(app, ["replay", path, "--cpus", "2", "--time-scale", "1000", "--policy", "easy"])
    assert done.exit_code == 0, done.output


@pytest.mark.parametrize("more", [["--cpus", "inf"], ["--cpus", "1e30"], ["--gpus", "99999999999999999999"]])
def test_a_pool_without_end_is_a_usage_error(tmp_path, more):
    done = runner.invoke(app, ["replay", log(tmp_path, *FIVE), *more])
    assert (done.exit_code, f"'{more[0]}'" in done.output) == (2, True), done.output


def test_a_run_tells_how_many_jobs_are_over():
    told = []
    ran(*[(n, 10, 4) for n in range(5)], progress=told.append)
    assert told == sorted(told)
    assert told[-1] == 5


def test_a_long_replay_says_now_and_then_how_far_it_is():
    seconds, said = [0.0], []
    progress = replay.every_10_s("easy", 400, said.append, clock=lambda: seconds[0])
    for over in range(400):
        progress(over)
        seconds[0] += 0.125
    assert said == [f"easy: {over} of 400 jobs are over" for over in (80, 160, 240, 320)]


def test_the_help_says_what_a_share_of_a_gpu_is_here():
    done = runner.invoke(app, ["replay", "--help"])
    assert "shares of a gpu are added up" in " ".join(done.stdout.split()).lower()
