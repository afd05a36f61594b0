"""The readers of job logs: what other programs write is read, and what is wrong is refused with its place."""

import gzip

import pytest

from bench.joblogs import BadLog, LoggedJob, read_jobs, read_workers

HEADER = "submit_s,runtime_s,cpus,mem_mb,gpus,user,priority,walltime_s"
SWF_JOB = "1 0 -1 100 4 -1 -1 8 200 -1 1 7 -1 -1 -1 -1 -1 -1"
JOB = LoggedJob(0, 100, 8, user="7", walltime_s=200)


def lines(path, *rows, encoding="utf-8"):
    path.write_bytes(("\n".join(rows) + "\n").encode(encoding))
    return path


def test_a_byte_order_mark_is_no_part_of_the_log(tmp_path):
    assert read_jobs(lines(tmp_path / "a.csv", HEADER, "0,10,1,0,0,u,0,", encoding="utf-8-sig"))
    assert read_jobs(lines(tmp_path / "a.swf", SWF_JOB, encoding="utf-8-sig")) == [JOB]
    workers = lines(tmp_path / "w.csv", "name,cpus,mem_mb,gpus", "w1,2,0,0", encoding="utf-8-sig")
    assert [worker.name for worker in read_workers(workers)] == ["w1"]


def test_a_byte_of_another_encoding_costs_neither_the_log_nor_who_is_who(tmp_path):
    assert read_jobs(lines(tmp_path / "a.swf", "; Universität", SWF_JOB, encoding="latin-1")) == [JOB]
    rows = ("0,10,1,0,0,jürg,0,", "0,10,1,0,0,jörg,0,")
    jobs = read_jobs(lines(tmp_path / "a.csv", HEADER, *rows, encoding="latin-1"))
    assert len({job.user for job in jobs}) == 2
    assert all(job.user.isprintable() and job.user.encode() for job in jobs)


def test_what_is_no_text_is_refused_with_what_can_be_printed(tmp_path):
    packed = tmp_path / "a.csv"
    packed.write_bytes(gzip.compress(b"x" * 1_000))
    with pytest.raises(BadLog, match="names no column") as refused:
        read_jobs(packed)
    assert str(refused.value).isprintable()


@pytest.mark.parametrize("name", ["LOG.SWF", "log.Swf", "LOG.SWF.GZ", "log.swf.gz"])
def test_capitals_in_a_name_do_not_change_the_format(tmp_path, name):
    path = lines(tmp_path / name, SWF_JOB)
    if name.lower().endswith(".gz"):
        path.write_bytes(gzip.compress(path.read_bytes()))
    assert read_jobs(path) == [JOB]


@pytest.mark.parametrize("submit", ["-1", "-5"])
def test_a_job_of_which_nobody_knows_when_it_came_is_refused(tmp_path, submit):
    path = lines(tmp_path / "a.swf", SWF_JOB, f"2 {submit} -1 100 4 -1 -1 8 200")
    with pytest.raises(BadLog, match=rf"a\.swf, line 2: submit time is {submit}: "):
        read_jobs(path)
    never_ran = lines(tmp_path / "b.swf", SWF_JOB, f"2 {submit} -1 -1 4 -1 -1 8 200")
    assert read_jobs(never_ran) == [JOB]


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("1 0 -1 100 4", "it has 5 of 9 fields; cpu time, memory, requested processors, requested time missing"),
        ("1 0 -1 100 4 -1 -1 8", "it has 8 of 9 fields; requested time missing"),
        ("1 0 -1 long 4 -1 -1 8 200", "run time is 'long', not a number"),
        ("1 0 -1 nan 4 -1 -1 8 200", "run time is nan; 1e\\+12 is the most"),
    ],
)
def test_a_bad_line_is_named_with_its_field(tmp_path, line, said):
    with pytest.raises(BadLog, match=f"a.swf, line 2: {said}$"):
        read_jobs(lines(tmp_path / "a.swf", "; a comment", line))


@pytest.mark.parametrize(
    ("walltime", "limit_s"), [("", None), ("0", None), ("-1", None), ("-1.0", None), ("0.0", None), ("20", 20)]
)
def test_no_walltime_is_written_in_several_ways(tmp_path, walltime, limit_s):
    (job,) = read_jobs(lines(tmp_path / "a.csv", HEADER, f"0,10,1,0,0,u,0,{walltime}"))
    assert job.walltime_s == limit_s


def test_a_negative_walltime_is_refused(tmp_path):
    with pytest.raises(BadLog, match="line 2: walltime_s is -5"):
        read_jobs(lines(tmp_path / "a.csv", HEADER, "0,10,1,0,0,u,0,-5"))


def test_a_worker_has_whole_gpus(tmp_path):
    head = "name,cpus,mem_mb,gpus"
    with pytest.raises(BadLog, match=r"line 3: gpus is 0\.5; a worker has whole ones"):
        read_workers(lines(tmp_path / "w.csv", head, "w1,2,0,1", "w2,2,0,0.5"))
    assert [worker.gpus for worker in read_workers(lines(tmp_path / "v.csv", head, "w1,2,0,2.0"))] == [2]
