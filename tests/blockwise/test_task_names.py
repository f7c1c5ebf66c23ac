"""What Dask remembers of tasks that are over: little, however many there were."""

import sys

import cloudpickle
from dask.utils import key_split
from distributed.comm import CommClosedError
from distributed.utils import key_split_group

from connectomics.blockwise import task_names
from connectomics.blockwise.cluster import connect
from connectomics.blockwise.grid import Grid
from connectomics.blockwise.ledger import Ledger
from connectomics.blockwise.run import run_blocks
from connectomics.blockwise.task_names import TaskNames
from tests.dask_processes import cluster

cloudpickle.register_pickle_by_value(sys.modules[__name__])  # workers cannot import the tests


class Gone:
    """A client whose scheduler is gone."""

    def run_on_scheduler(self, function):
        raise CommClosedError("gone")


def test_the_tasks_of_a_step_are_one_group_though_the_scheduler_is_gone():
    names = TaskNames(Gone(), "edges-of-level-2")
    given = {names.new() for _ in range(5)}
    assert len(given) == 5
    assert {key_split_group(name) for name in given} == {"edges_of_level_2"}


def test_tasks_are_forgotten(tmp_path, monkeypatch):
    """Dask itself would keep 100,000 names in every process, and a list without end in the scheduler."""
    monkeypatch.setattr(task_names, "REMEMBERED", 10)

    def forget_early():
        task_names.REMEMBERED = 10

    with cluster(tmp_path) as (address, _), connect(address) as pool:
        pool.client.wait_for_workers(2)
        pool.client.run_on_scheduler(forget_early)
        pool.client.run(forget_early)
        run_blocks("step", Grid((1, 1, 50), (1, 1, 1)), nothing, Ledger(tmp_path / "ledger"), pool=pool)
        names, noted = pool.client.run_on_scheduler(names_kept), pool.client.run_on_scheduler(tasks_noted)
        here, on_workers = names_kept(), pool.client.run(names_kept).values()
    assert 0 < names <= 20 and 0 < noted <= 20 and max(on_workers) <= 20, (names, noted, on_workers)
    assert here <= 20


def nothing(block):
    """Do nothing."""


def names_kept():
    """How many names of tasks this process remembers."""
    return key_split.cache_info().currsize


def tasks_noted(dask_scheduler):
    """How many tasks the scheduler has a note of, after they are over."""
    spans = dask_scheduler.extensions["spans"].spans.values()
    return sum(len(span.metadata["collections"]) for span in spans if span.metadata)
