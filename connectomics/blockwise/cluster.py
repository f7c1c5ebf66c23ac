"""Connect to Dask workers: on this machine, at an address, or started by a cluster's queue."""

import logging
import os
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from connectomics.blockwise.pool import Cluster
from connectomics.errors import InputError, SettingsError, did_you_mean

if TYPE_CHECKING:
    from distributed import Client

QUEUES = {
    "slurm": "SLURMCluster",
    "lsf": "LSFCluster",
    "pbs": "PBSCluster",
    "sge": "SGECluster",
    "htcondor": "HTCondorCluster",
    "oar": "OARCluster",
}
"""Queueing systems that dask-jobqueue starts workers through, and its class for each."""

ANSWER_SECONDS = 20

QUIET = {
    "distributed.worker.profile.enabled": False,
    "distributed.admin.system-monitor.log-length": 600,
    "distributed.admin.low-level-log-length": 100,
}
"""Dask's settings for our client and for clusters that we start: its profile of itself grows for minutes, its
monitor for an hour, its logs of messages and transitions for thousands of tasks, and nobody looks at them."""

QUIET_ENVIRONMENT = {
    "DASK_" + name.upper().replace(".", "__").replace("-", "_"): str(value) for name, value in QUIET.items()
}
"""The same as environment variables, for processes that are started by their own command."""

log = logging.getLogger(__name__)


@contextmanager
def connect(cluster: str, patience: float | None = 600.0) -> Iterator[Cluster]:
    """Connect to workers for the time of a run.

    Parameters
    ----------
    cluster
        ``local:N`` starts N worker processes here; ``tcp://HOST:PORT`` is a running Dask scheduler; a TOML
        file says which queue to start workers through (see `start_queue`).
    patience
        Seconds after which a silent block is given to another worker.

    Raises
    ------
    InputError
        The text is none of these, or nobody answers at the address.
    """
    try:
        import dask
        from distributed import Client
    except ImportError:
        raise InputError(
            "--cluster needs dask.distributed: pip install 'xray-connectomics[cluster]'."
        ) from None
    logging.getLogger("distributed").setLevel(logging.CRITICAL)  # what matters of it reaches the ledger
    with _backend(cluster) as (address, wanted):
        try:
            with dask.config.set(QUIET):
                client: Client = Client(address, set_as_default=False, timeout=ANSWER_SECONDS)
        except (OSError, ValueError) as error:
            raise InputError(f"--cluster {cluster}: no Dask scheduler answers there ({error}).") from None
        try:
            _wait_for_workers(client, cluster, wanted)
            yield Cluster(client, patience)
        finally:
            _close(client)


def _close(client: "Client") -> None:
    """Let go of the workers; a client that has lost its scheduler may fail at it, which is no news then."""
    try:
        client.close()
    except (OSError, RuntimeError) as error:
        log.debug("the connection to the cluster did not close: %s", error)


@contextmanager
def _backend(cluster: str) -> Iterator[tuple[Any, int]]:
    """What a client connects to, and how many workers to wait for."""
    if cluster.startswith("local:"):
        with _local(cluster) as found:
            yield found
    elif cluster.startswith(("tcp://", "tls://")):
        yield cluster, 1
    elif cluster.endswith(".toml"):
        with start_queue(Path(cluster)) as started:
            yield started, 1
    else:
        raise InputError(
            f"--cluster {cluster}: expected local:N, tcp://HOST:PORT or a .toml file that names a queue."
        )


@contextmanager
def _local(cluster: str) -> Iterator[tuple[Any, int]]:
    import dask
    from distributed import LocalCluster

    number = cluster.removeprefix("local:")
    if not number.isdigit() or int(number) < 1:
        raise InputError(f"--cluster {cluster}: expected a number of workers, such as local:2.")
    workers = int(number)
    threads = str(max(1, len(os.sched_getaffinity(0)) // workers))
    with (
        dask.config.set(QUIET),
        LocalCluster(
            n_workers=workers,
            threads_per_worker=1,
            processes=True,
            dashboard_address="127.0.0.1:0",
            memory_limit=0,  # --memory sizes tiles and blocks; a limit of Dask's own would pause workers
            silence_logs=logging.CRITICAL,
            env={"OMP_NUM_THREADS": threads} | QUIET_ENVIRONMENT,
        ) as started,
    ):
        yield started, workers


@contextmanager
def start_queue(path: Path) -> Iterator[Any]:
    """Start workers through a queueing system with dask-jobqueue.

    The TOML file holds ``queue`` (see `QUEUES`), ``jobs`` (how many to submit, one worker each), and a table
    ``options`` that goes to dask-jobqueue's class as it is (``cores``, ``memory``, ``walltime``, ...).

    Raises
    ------
    SettingsError
        The file cannot be read, or a key is missing or unknown.
    """
    try:
        given = tomllib.loads(path.read_text())
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise SettingsError(f"--cluster {path}: cannot be read: {error}.") from None
    unknown = set(given) - {"queue", "jobs", "options"}
    if unknown or "queue" not in given:
        raise SettingsError(
            f"--cluster {path}: expected the keys queue, jobs and options, got {', '.join(sorted(given))}."
        )
    name = str(given["queue"])
    if name not in QUEUES:
        raise SettingsError(f"--cluster {path}: queue '{name}': not known.{did_you_mean(name, QUEUES)}")
    import dask
    import dask_jobqueue

    options = dict(given.get("options", {}))
    exports = [f"export {variable}={value}" for variable, value in QUIET_ENVIRONMENT.items()]
    options["job_script_prologue"] = exports + list(options.get("job_script_prologue", []))
    try:
        with dask.config.set(QUIET):  # of the scheduler, which runs here
            cluster = getattr(dask_jobqueue, QUEUES[name])(**options)
    except (TypeError, ValueError) as error:
        raise SettingsError(
            f"--cluster {path}: dask-jobqueue does not take these options: {error}."
        ) from None
    with cluster:
        cluster.scale(jobs=int(given.get("jobs", 1)))
        yield cluster


def _wait_for_workers(client: "Client", cluster: str, wanted: int) -> None:
    if len(client.scheduler_info(n_workers=-1)["workers"]) < wanted:
        log.info("--cluster %s: waiting for workers", cluster)
    client.wait_for_workers(wanted)
    log.info("--cluster %s: %d workers", cluster, len(client.scheduler_info(n_workers=-1)["workers"]))
