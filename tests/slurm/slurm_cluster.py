"""A Slurm cluster in a folder: three emulated nodes with four GPUs each, reached through the loopback device alone.

The daemons are plain processes of Debian's packages; nothing of them lies outside the folder. A GPU is a copy of
/dev/null: Slurm counts and hands it out, and CUDA sees none. Needs root, for these devices and for munged.
"""

from __future__ import annotations

import os
import secrets
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

NODES = ("n1", "n2", "n3")
GPUS = 4
DAEMONS = ("munged", "slurmctld", "slurmd")

# A requeued job waits until its credential has expired, a job that is told to stop is killed after KillWait, and a node
# that is silent for SlurmdTimeout is lost: seconds here, minutes on a real cluster.
CONFIGURATION = """\
ClusterName=livejam
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={port}
CommunicationParameters=NoCtldInAddrAny,NoInAddrAny
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket,cred_expire=5
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool-%n
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd-%n.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd-%n.log
SlurmdParameters=config_overrides
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
SwitchType=switch/none
MpiDefault=none
ReturnToService=2
SchedulerParameters=batch_sched_delay=0,sched_interval=1,bf_interval=1
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
GresTypes=gpu
KillWait=5
SlurmdTimeout=10
MinJobAge=86400
PartitionName=gpu Nodes=ALL Default=YES MaxTime=INFINITE State=UP
"""

NODE = """\
NodeName={node} NodeHostname={host} NodeAddr=127.0.0.1 Port={port} CPUs=64 RealMemory=262144 Gres=gpu:4
"""


def missing() -> str | None:
    """Why there can be no cluster here, if so."""
    absent = [name for name in DAEMONS if shutil.which(name, path=f"/usr/sbin:{os.environ['PATH']}") is None]
    if absent:
        return f"{', '.join(absent)} not installed: apt-get install slurm-wlm munge, as `make test-slurm` does"
    return None if os.geteuid() == 0 else "emulated GPUs are device files, which only root can make"


def _free_ports(count: int) -> list[int]:
    """Ports of the loopback device that nobody uses."""
    sockets = [socket.socket() for _ in range(count)]
    for one in sockets:
        one.bind(("127.0.0.1", 0))
    ports = [int(one.getsockname()[1]) for one in sockets]
    for one in sockets:
        one.close()
    return ports


def until(condition: Callable[[], bool], seconds: float, pause_seconds: float = 0.1) -> bool:
    """Wait for something: whether it happened in time."""
    end = time.monotonic() + seconds
    while not (happened := condition()) and time.monotonic() < end:
        time.sleep(pause_seconds)
    return happened


def processes() -> list[int]:
    """All processes."""
    return [int(path.name) for path in Path("/proc").iterdir() if path.name.isdigit()]


def environment_of(pid: int) -> set[str]:
    """NAME=VALUE of a process, nothing of one that is gone."""
    try:
        return set(Path(f"/proc/{pid}/environ").read_bytes().decode(errors="replace").split("\0"))
    except OSError:
        return set()


def parent(pid: int) -> int:
    """The parent of a process."""
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


def kill(pid: int) -> None:
    """As `kill -9`; it may be gone already."""
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)


class Cluster:
    """The daemons of one cluster.

    Args:
        folder: an empty folder for all their files.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.environment = {"SLURM_CONF": str(folder / "slurm.conf")}
        self._processes: dict[str, subprocess.Popen[bytes]] = {}

    def start(self) -> None:
        """Write the configuration and start all daemons."""
        self._configure()
        files = {"key-file": "key", "socket": "socket", "pid-file": "pid", "log-file": "log", "seed-file": "seed"}
        munge = [f"--{option}={self.folder}/munge.{ending}" for option, ending in files.items()]
        # forced, as no other user is let into the folder
        self._spawn("munged", "munged", "--foreground", "--force", *munge)
        self._require(until((self.folder / "munge.socket").exists, 20))
        self._spawn("slurmctld", "slurmctld", "-D")
        for node in NODES:
            self.start_node(node)
        self._require(until(lambda: self.ask("sinfo", "-h", "-o", "%T %D") == f"idle {len(NODES)}", 60))

    def _require(self, good: bool) -> None:
        logs = "\n".join(path.read_text(errors="replace")[-2000:] for path in self.folder.glob("*.out"))
        assert good, f"the cluster does not start\n{logs}"

    def cancel_jobs(self) -> None:
        """Whatever waits or runs is over."""
        self.ask("scancel", "--user=root")
        until(lambda: not self.ask("squeue", "-h"), 60)

    def stop(self) -> None:
        """Cancel all jobs and stop all daemons."""
        if "slurmctld" in self._processes:
            self.cancel_jobs()
        for name in reversed(list(self._processes)):
            self._end(name, signal.SIGTERM)

    def start_node(self, node: str) -> None:
        """Start the daemon of a node."""
        self._spawn(node, "slurmd", "-D", "-N", node)

    def lose_node(self, node: str) -> None:
        """A node is gone from one moment to the next, with everything that runs there."""
        tasks = self.tasks(f"SLURMD_NODENAME={node}")
        self._end(node, signal.SIGKILL)
        # the parent of a task is Slurm's own process on the node, which would report that the task has died
        for pid in dict.fromkeys([*map(parent, tasks), *tasks]):
            kill(pid)

    def tasks(self, *variables: str) -> list[int]:
        """Processes of jobs that have these environment variables."""
        wanted = {f"SLURM_CONF={self.environment['SLURM_CONF']}", "SLURM_STEP_ID=0", *variables}
        return [pid for pid in processes() if wanted <= environment_of(pid)]

    def ask(self, *words: str) -> str:
        """Standard output of one of Slurm's commands."""
        environment = os.environ | self.environment
        done = subprocess.run(words, env=environment, capture_output=True, text=True, check=False)
        return done.stdout.strip()

    def _configure(self) -> None:
        for name in ("state", "devices", *(f"spool-{node}" for node in NODES)):
            (self.folder / name).mkdir()
        key = self.folder / "munge.key"
        key.write_bytes(secrets.token_bytes(128))
        key.chmod(0o600)
        host, (own, *others) = socket.gethostname(), _free_ports(1 + len(NODES))
        nodes = [NODE.format(node=node, host=host, port=port) for node, port in zip(NODES, others, strict=True)]
        content = CONFIGURATION.format(host=host, folder=self.folder, port=own)
        (self.folder / "slurm.conf").write_text("".join([content, *nodes]), encoding="utf-8")
        lines = []
        for node in NODES:
            for gpu in range(GPUS):
                os.mknod(self.folder / f"devices/{node}-{gpu}", 0o20666, os.makedev(1, 3))
            lines.append(f"NodeName={node} Name=gpu File={self.folder}/devices/{node}-[0-{GPUS - 1}]\n")
        (self.folder / "gres.conf").write_text("".join(lines), encoding="utf-8")

    def _spawn(self, name: str, program: str, *options: str) -> None:
        environment = os.environ | self.environment | {"PATH": f"/usr/sbin:{os.environ['PATH']}"}
        with (self.folder / f"{name}.out").open("ab") as log:
            self._processes[name] = subprocess.Popen([program, *options], env=environment, stdout=log, stderr=log)

    def _end(self, name: str, how: signal.Signals) -> None:
        process = self._processes.pop(name)
        process.send_signal(how)
        process.wait(timeout=60)
