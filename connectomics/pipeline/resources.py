"""How a run shares out threads and memory, and how deep a pyramid should be."""

import logging
import math
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from connectomics.blockwise.grid import chunk_for_block
from connectomics.blockwise.pool import Pool, Threads
from connectomics.inference.settings import InferenceSettings
from connectomics.pipeline.settings import PoolSettings, RunSettings
from connectomics.roi import IntTriple, int_triple

log = logging.getLogger(__name__)

SMALLEST_LEVEL = 64
"""Edge, in voxels, at which a pyramid needs no further level."""

BASE_BYTES = 900e6
"""What the program holds before the first block: interpreter, torch, engine, compiled kernels."""

BLOCK_EDGES = (128, 96, 64)


@contextmanager
def open_pool(settings: PoolSettings) -> Iterator[Pool]:
    """Where block functions run: the cluster of ``--cluster``, else threads of this process."""
    if settings.cluster is None:
        yield Threads(thread_count(settings))
        return
    from connectomics.blockwise.cluster import connect

    with connect(settings.cluster, settings.patience) as cluster:
        yield cluster


def thread_count(settings: PoolSettings) -> int:
    """Threads for block-wise work: ``--workers``, else one per core this process may use."""
    return settings.workers or len(os.sched_getaffinity(0))


def worker_count(settings: RunSettings) -> int:
    """Who shares ``--memory``: local workers, or threads; workers on other machines have it each."""
    if settings.cluster is None:
        return thread_count(settings)
    number = settings.cluster.removeprefix("local:")
    return int(number) if number.isdigit() and int(number) else 1


def share_inference(inference: InferenceSettings, settings: RunSettings) -> InferenceSettings:
    """What each of a cluster's local workers may take of the memory and the cores."""
    if settings.cluster is None or not settings.cluster.startswith("local:"):
        return inference
    workers = worker_count(settings)
    threads = inference.threads or max(1, len(os.sched_getaffinity(0)) // workers)
    return inference.model_copy(update={"memory": inference.memory // workers, "threads": threads})


def pyramid_levels(shape: Sequence[int]) -> int:
    """Levels of a factor-2 pyramid until the longest edge is at most `SMALLEST_LEVEL` voxels."""
    return 1 + max(0, math.ceil(math.log2(max(shape) / SMALLEST_LEVEL)))


def check_block(settings: RunSettings, shape: Sequence[int]) -> None:
    """Refuse a ``--block`` that is not made of whole chunks of a region, also where tiles decide.

    Raises
    ------
    InputError
        It is not; the message names the nearest that fits.
    """
    if settings.block is not None:
        chunk_for_block(settings.block, int_triple(shape))


def memory_of_a_block(settings: RunSettings, memory: int) -> float:
    """Bytes for each of the blocks that are worked on at once, out of those for the whole command."""
    workers = worker_count(settings)
    processes = 1 if settings.cluster is None else workers
    return (memory - BASE_BYTES * processes) / workers


def block_for_memory(
    settings: RunSettings, memory: int, shape: Sequence[int], halo: int, bytes_per_voxel: float
) -> IntTriple:
    """The write block (voxels, zyx): ``--block``, else the largest edge whose blocks fit ``--memory``.

    Parameters
    ----------
    settings
        Holds workers and block.
    memory
        Bytes for the whole command.
    shape
        Voxels of the region (zyx).
    halo
        Voxels that a block reads beyond each face.
    bytes_per_voxel
        Peak bytes per voxel read while a block is worked on.

    Raises
    ------
    InputError
        ``--block`` is not made of whole chunks.
    """
    check_block(settings, shape)
    if settings.block is not None:
        return settings.block
    budget = memory_of_a_block(settings, memory)
    for edge in BLOCK_EDGES:
        read = math.prod(min(edge + 2 * halo, n) for n in shape)
        if read * bytes_per_voxel <= budget:
            break
    else:
        log.warning("--memory %d bytes is tight for the smallest block of %d voxels", memory, edge)
    z, y, x = (min(edge, math.ceil(n / 32) * 32) for n in shape)
    return z, y, x
