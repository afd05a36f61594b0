"""Job logs through the core: the reader, small worlds whose outcome is known, and real logs where they lie beside."""

import gzip
import json
import random
from pathlib import Path

import pytest
from typer.testing import CliRunner

from bench.bench import app
from bench.joblogs import BadLog, LoggedJob, LoggedWorker, read_jobs
from bench.virtual import Pool, run
from engine.scheduler.patience import PATIENCE
from engine.scheduler.ranking import DEFAULT, POLICIES

HEADER = "submit_s,runtime_s,cpus,mem_mb,gpus,user,priority,walltime_s"
TRACES = Path(__file__).parents[3].parent / "shared" / "traces"
KTH = TRACES / "kth_sp2_1996.csv.gz"
runner = CliRunner()


def log(tmp_path, *rows, name="log.csv"):
    path = tmp_path / name
    path.write_text("\n".join([HEADER, *rows]) + "\n")
    return path


def ran(policy, *jobs, cpus=4, clairvoyant=False):
    pool = Pool((LoggedWorker("pool", cpus, 0, 0),), "cpus")
    logged = [
        LoggedJob(submit, runtime, wide, user=user, walltime_s=walltime)
        for submit, runtime, wide, user, walltime in jobs
    ]
    return run(logged, pool, POLICIES[policy], clairvoyant=clairvoyant).waits_s


WIDE_IS_BLOCKED = [(0, 100, 3, "a", 100), (1, 100, 4, "b", 100), (2, 90, 1, "c", 98), (3, 90, 1, "d", 200)]


def test_without_backfill_nobody_passes():
    assert ran("fcfs", *WIDE_IS_BLOCKED) == [0, 99, 198, 197]


def test_who_is_over_in_time_passes_and_who_is_not_does_not():
    assert ran("easy", *WIDE_IS_BLOCKED) == [0, 99, 0, 197]


def test_what_the_user_asked_for_counts_not_the_run_time_unless_it_is_told():
    assert ran("easy", (0, 100, 3, "a", 100), (1, 100, 4, "b", 100), (3, 90, 1, "d", 200), clairvoyant=True)[2] == 0


@pytest.mark.parametrize("policy", ["easy", "default"])
def test_jobs_that_no_worker_can_run_change_nothing_for_the_others(policy):
    chance, at_s, jobs = random.Random(0), 0.0, []
    for number in range(300):
        at_s += chance.expovariate(0.8 * 8 / 75)
        runs_s = 1 + chance.expovariate(1 / 50)
        wide = 8 if number % 60 == 30 else chance.choice((1, 1, 2))
        jobs.append((at_s, runs_s, wide, "s", runs_s * chance.choice((1, 2, 4))))
    never = [(0, 10, 9 + number, "n", 10) for number in range(20)]
    assert ran(policy, *never, *jobs, cpus=8) == ran(policy, *jobs, cpus=8)


@pytest.mark.parametrize("seed", range(3))
def test_guesses_that_prove_wrong_again_and_again_put_nobody_off_for_good(seed):
    """Without timeouts those that pass are taken to be over as soon as their user's last ones were."""
    long_s, chance, at_s, jobs = 10_000, random.Random(seed), 0.0, []
    for number in range(1_500):
        at_s += chance.expovariate(8 / 1009)  # half of what there is
        jobs.append((at_s, long_s if chance.random() < 0.1 else 10, 1, f"s{number % 20}", None))
    comes_s = at_s / 10
    before = [job for job in jobs if job[0] <= comes_s]
    waits = ran("default", *before, (comes_s, 10, 16, "w", None), *jobs[len(before) :], cpus=16)
    assert waits[len(before)] < (PATIENCE + 2) * long_s


@pytest.mark.parametrize("seed", range(3))
def test_where_all_have_timeouts_the_order_does_not_know_of_patience(seed):
    chance, at_s, jobs = random.Random(seed), 0.0, []
    for number in range(600):
        at_s += chance.expovariate(0.9 * 16 / 400)
        runs_s = 1 + chance.expovariate(1 / 100)
        wide = 16 if number % 20 == 10 else chance.choice((1, 2, 4, 8))
        jobs.append(LoggedJob(at_s, runs_s, wide, user=f"u{number % 5}", walltime_s=runs_s * chance.choice((1, 5, 50))))
    pool = Pool((LoggedWorker("pool", 16, 0, 0),), "cpus")
    assert run(jobs, pool, DEFAULT).waits_s == run(jobs, pool, DEFAULT._replace(bounds=False)).waits_s


def test_nobody_stands_still_for_a_job_that_waits_for_one_without_an_end():
    chance, at_s, jobs = random.Random(0), 0.0, []
    for _ in range(2_000):
        at_s += chance.expovariate(0.5 * 7 / 60)
        jobs.append((at_s, 1 + chance.expovariate(1 / 60), 1, "s", None))
    service, wide = (0, 100 * at_s, 1, "v", None), (jobs[200][0], 10, 8, "w", None)
    beside = ran("default", service, *jobs[:200], wide, *jobs[200:], cpus=8)
    assert beside.pop(201) > 98 * at_s
    assert sum(beside) < 1.5 * sum(ran("default", service, *jobs, cpus=8)) + len(jobs)


def test_who_fits_beside_the_blocked_job_passes_however_long_it_runs():
    waits = ran("easy", (0, 100, 3, "a", 100), (1, 100, 2, "b", 100), (2, 900, 1, "c", 1_000))
    assert waits == [0, 99, 0]


def test_the_shortest_of_those_that_may_pass_goes_first():
    jobs = [(0, 100, 3, "a", 100), (1, 10, 4, "b", 10), (2, 80, 1, "c", 80), (2, 20, 1, "d", 20)]
    assert ran("easy", *jobs)[2:] == [0, 108]
    assert ran("easy-sjf", *jobs)[2:] == [108, 0]


def test_the_default_starves_nobody():
    """A wide job among a stream of short narrow ones starts within the time that it is let pass by."""
    stream = [(10 * n, 30, 1, f"u{n % 3}", 60) for n in range(400)]
    waits = ran("default", *sorted([*stream, (15, 30, 4, "wide", 600)]))
    assert max(waits) <= 600 + 100


@pytest.mark.parametrize("policy", sorted(POLICIES))
def test_every_policy_runs_every_job(policy):
    jobs = [(n, 5 + n % 7, 1 + n % 4, f"u{n % 5}", 20) for n in range(200)]
    assert len(ran(policy, *jobs)) == 200


def test_a_gzipped_log_reads_as_the_plain_one(tmp_path):
    plain = log(tmp_path, "0,10,1,0,0,u1,0,20", "5,10,2,512,0.5,,3,")
    packed = tmp_path / "log.csv.gz"
    packed.write_bytes(gzip.compress(plain.read_bytes()))
    assert read_jobs(packed) == read_jobs(plain) == [
        LoggedJob(0, 10, 1, user="u1", walltime_s=20), LoggedJob(5, 10, 2, 512, 0.5, priority=3),
    ]  # fmt: skip


def test_the_standard_workload_format(tmp_path):
    path = tmp_path / "log.swf"
    path.write_text(
        "; a comment\n1 0 -1 100 4 -1 -1 8 200 -1 1 7 -1 -1 -1 -1 -1 -1\n2 5 -1 0 4 -1 -1 4 60 -1 0 7 1 1 1 1 1 1\n"
    )
    assert read_jobs(path) == [LoggedJob(0, 100, 8, user="7", walltime_s=200)]


@pytest.mark.parametrize(
    ("row", "column"),
    [
        ("x,10,1,0,0,u,0,", "submit_s"),
        ("0,10", "cpus"),
        ("0,ten,1,0,0,u,0,", "runtime_s"),
        ("0,nan,1,0,0,u,0,", "runtime_s"),
        ("0,inf,1,0,0,u,0,", "runtime_s"),
        ("-1,1,1,0,0,u,0,", "submit_s"),
        ("0,1,-4,0,0,u,0,", "cpus"),
        ("0,1,1,0,0,u,0,soon", "walltime_s"),
    ],
)
def test_a_bad_row_is_named(tmp_path, row, column):
    with pytest.raises(BadLog, match=f"line 2: {column} is"):
        read_jobs(log(tmp_path, row))


def test_files_that_are_no_logs_are_refused_with_exit_code_2(tmp_path):
    columns = tmp_path / "columns.csv"
    columns.write_text("a,b\n1,2\n")
    packed = tmp_path / "packed.csv.gz"
    packed.write_bytes(gzip.compress(b"submit_s,runtime_s,cpus\n0,1,1\n")[:-9])
    swf = tmp_path / "log.swf"
    swf.write_text("1 nan -1 100 4 -1 -1 8 200\n")
    for path, said in ((columns, "no column submit_s, runtime_s, cpus"), (packed, "packed"), (swf, "line 1")):
        done = runner.invoke(app, ["replay", str(path), "--cpus", "1"])
        assert (done.exit_code, said in done.output) == (2, True), done.output
    good = log(tmp_path, "0,10,1,0,0,u1,0,20")
    for more in (["--cpus", "0"], ["--gpus", "0"], ["--workers", str(columns)], ["--time-scale", "nan", "--cpus", "1"]):
        done = runner.invoke(app, ["replay", str(good), *more])
        assert done.exit_code == 2, done.output


def test_policies_of_the_literature_order_by_their_formulas():
    """One cpu; the running job ends at 100. 20 s and 60 s of run time, and both have waited for 80 s and more."""
    jobs = [(0, 100, 1, "a", 100), (10, 60, 1, "b", 60), (20, 20, 1, "c", 20)]
    assert ran("wfp3", *jobs, cpus=1) == [0, 110, 80]
    assert ran("unicep", *jobs, cpus=1) == [0, 110, 80]
    assert ran("f1", (0, 100, 1, "a", 100), (10, 60, 1, "b", 60), (9_000, 1, 1, "c", 1), cpus=1)[1] == 90
    long_waited = [(0, 100, 1, "a", 100), (1, 40, 1, "b", 40), (90, 20, 1, "c", 20)]
    assert ran("wfp3", *long_waited, cpus=1) == [0, 99, 50]


def test_the_command_prints_the_policies(tmp_path):
    path = log(tmp_path, "0,10,1,0,0,u1,0,20", "0,10,1,0,0,u2,0,20", "1,10,1,0,0,u2,0,20")
    done = runner.invoke(app, ["replay", str(path), "--cpus", "1", "--policy", "easy", "--policy", "sjf", "--json"])
    assert done.exit_code == 0, done.output
    policies = json.loads(done.stdout)["policies"]
    assert set(policies) == {"easy", "sjf"}
    assert policies["easy"]["wait_mean_s"] == pytest.approx((0 + 10 + 19) / 3, abs=0.1)
    assert {"bsld_mean", "bsld_p95", "bsld_max", "wait_mean_s", "utilisation", "queue_max", "jain_users"} <= set(
        policies["easy"]
    )


@pytest.mark.parametrize("more", [[], ["--cpus", "1", "--gpus", "1"], ["--cpus", "1", "--policy", "none"]])
def test_what_makes_no_sense_is_refused_with_the_remedy(tmp_path, more):
    done = runner.invoke(app, ["replay", str(log(tmp_path, "0,10,1,0,0,u1,0,20")), *more])
    assert done.exit_code == 2
    assert "one of --cpus" in done.output or "there are default" in done.output or "is no policy" in done.output


def test_the_pack_command_tells_the_ratio(tmp_path):
    jobs = log(tmp_path, *(f"0,10,1,1024,{gpus},u,0," for gpus in (0.5, 0.5, 1, 2, 0.25, 0, 1)))
    workers = tmp_path / "workers.csv"
    workers.write_text("name,cpus,mem_mb,gpus,gpu_model\nw1,16,65536,4,a\nw2,16,65536,2,a\n")
    done = runner.invoke(app, ["pack", str(jobs), "--workers", str(workers), "--seeds", "2", "--json"])
    assert done.exit_code == 0, done.output
    figures = json.loads(done.stdout)
    assert len(figures["per_seed"]) == 2
    assert 80 <= figures["allocation_ratio_mean"] <= 100


def test_a_job_asks_for_a_gpu_and_a_share_of_another_in_vain(tmp_path):
    """A share is of one device: as one device it would count for too little, as two for too much."""
    jobs = log(tmp_path, "0,10,1,0,1,u,0,", "0,10,1,0,1.5,u,0,", "0,10,1,0,2.25,u,0,")
    workers = tmp_path / "workers.csv"
    workers.write_text("name,cpus,mem_mb,gpus\nw1,16,65536,4\n")
    done = runner.invoke(app, ["pack", str(jobs), "--workers", str(workers)])
    assert (done.exit_code, done.output.count("\n")) == (2, 1)
    assert "log.csv: 2 of its 3 jobs ask for whole GPUs and a share of one more, the first for 1.5; " in done.output


if KTH.exists():  # the log is not part of the project

    @pytest.mark.parametrize(
        ("policy", "clairvoyant", "mean"),
        [("easy", False, 92.6), ("easy-sjf", True, 49.85)],
    )
    def test_published_means_are_met(policy, clairvoyant, mean):
        pool = Pool((LoggedWorker("pool", 100, 0, 0),), "cpus")
        slowdowns = run(read_jobs(KTH), pool, POLICIES[policy], clairvoyant=clairvoyant).slowdowns
        assert sum(slowdowns) / len(slowdowns) == pytest.approx(mean, rel=0.01)

    def test_the_default_is_better_than_the_best_of_easy_and_starves_nobody_more():
        pool = Pool((LoggedWorker("pool", 100, 0, 0),), "cpus")
        slowdowns = run(read_jobs(KTH), pool, POLICIES["default"]).slowdowns
        assert sum(slowdowns) / len(slowdowns) < 69.4
        assert max(slowdowns) <= 14_805


def test_of_fifteen_tenants_the_worst_fares_better_by_default_than_under_easy():
    seen = runner.invoke(app, ["fairness", "--quick", "--json"])
    assert seen.exit_code == 0, seen.output
    policies = json.loads(seen.stdout.strip().splitlines()[-1])["policies"]
    assert policies["default"]["worst_user_bsld"] < policies["easy"]["worst_user_bsld"]
    assert policies["default"]["jain_users"] > policies["easy"]["jain_users"]
    assert policies["default"]["bsld_mean"] < policies["easy"]["bsld_mean"]
