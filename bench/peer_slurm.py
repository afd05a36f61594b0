"""Slurm on loopback: a controller, one machine and munge of our own, in a directory of their own. It needs root.

The machine claims more processors than there are, so that launching is the limit and not their number. No accounting.
"""

import os
import pwd
import secrets
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from bench.harness import free_port
from bench.peer_programs import Measured, alone, command

PROGRAMS: Final = ("slurmctld", "slurmd", "munged", "sbatch", "squeue", "sinfo", "scancel")
CPUS: Final = 64
#: `sbatch --wait` looks every two seconds: more singles would only take time.
SINGLES_MAX: Final = 5
PATIENCE_S: Final = 240
_CONF: Final = """
ClusterName=bench
SlurmctldHost={name}(127.0.0.1)
SlurmctldPort={controller}
SlurmdPort={port}
SlurmUser=root
AuthType=auth/munge
AuthInfo=socket={home}/munge/socket
CredType=cred/munge
StateSaveLocation={home}/state
SlurmdSpoolDir={home}/spool
SlurmctldPidFile={home}/slurmctld.pid
SlurmdPidFile={home}/slurmd.pid
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
MpiDefault=none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
SchedulerType=sched/backfill
SchedulerParameters=default_queue_depth=10000,partition_job_depth=0,sched_min_interval=0,sched_interval=2,batch_sched_delay=1
SlurmdParameters=config_overrides
MaxArraySize=20000
MaxJobCount=50000
ReturnToService=2
NodeName={name} NodeAddr=127.0.0.1 CPUs={cpus} RealMemory=1000 State=UNKNOWN
PartitionName=bench Nodes={name} Default=YES MaxTime=INFINITE State=UP
"""


def slurm(jobs: int, singles: int, directory: Path) -> Measured:
    if os.geteuid() != 0:
        raise PermissionError("slurmd runs as root only")
    directory.chmod(0o755)  # munge runs as another user
    with _cluster(directory) as conf:
        script = directory / "job.sh"
        script.write_text("#!/bin/sh\n/bin/true\n")

        def run(*words: str) -> str:
            quiet = ("-Q", "-o", "/dev/null", "-e", "/dev/null", "-D", "/") if words[0] == "sbatch" else ()
            named = (str(script),) if words[0] == "sbatch" else ()
            line, environ = (words[0], *quiet, *words[1:], *named), {**os.environ, "SLURM_CONF": str(conf)}
            done = subprocess.run(line, env=environ, check=True, capture_output=True, timeout=PATIENCE_S)
            return done.stdout.decode()

        _until(lambda: "idle" in run("sinfo", "-h", "-o", "%T"))
        run("sbatch", "--wait")
        began = time.perf_counter()
        run("sbatch", f"--array=1-{jobs}")
        _until(lambda: not run("squeue", "-h", "-t", "PD,R,CG", "-o", "%i"))
        took_s = time.perf_counter() - began
        return took_s, alone(lambda: run("sbatch", "--wait"), min(singles, SINGLES_MAX))


@contextmanager
def _cluster(home: Path) -> Iterator[Path]:
    name = socket.gethostname().partition(".")[0]
    for part in ("state", "spool", "munge"):
        (home / part).mkdir(mode=0o755)
    user = pwd.getpwnam("munge")
    key = home / "munge" / "key"
    key.write_bytes(secrets.token_bytes(64))
    key.chmod(0o400)
    for path in (key, home / "munge"):
        os.chown(path, user.pw_uid, user.pw_gid)
    conf = home / "slurm.conf"
    conf.write_text(_CONF.format(name=name, controller=free_port(), port=free_port(), home=home, cpus=CPUS))
    files = [f"--{word}-file={home}/munge/{word}" for word in ("key", "pid", "log", "seed")]
    munge = ("munged", "-F", f"--socket={home}/munge/socket", *files)
    environ = {"SLURM_CONF": str(conf)}
    with command(*munge, user="munge"):
        _until((home / "munge" / "socket").exists)
        slurmd = ("slurmd", "-D", "-f", str(conf), "-N", name)
        with command("slurmctld", "-D", "-f", str(conf), **environ), command(*slurmd, **environ):
            try:
                yield conf
            finally:  # jobs outlive slurmd
                with suppress(subprocess.TimeoutExpired):
                    subprocess.run(("scancel", "--user=root"), env={**os.environ, **environ}, check=False, timeout=10)


def _until(true: Callable[[], object]) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while True:
        try:
            if true():
                return
        except subprocess.CalledProcessError:  # it has only begun
            pass
        if time.monotonic() > deadline:
            raise TimeoutError("the peer did not finish")
        time.sleep(0.1)
