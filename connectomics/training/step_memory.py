"""How much memory a training step takes at some crops, measured in a process of its own.

``python -m connectomics.training.step_memory`` reads settings and crops as JSON and prints a line for each.
"""

import ctypes
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import psutil
import torch

from connectomics.errors import RunFailed
from connectomics.networks.contract import Normalisation
from connectomics.roi import IntTriple
from connectomics.training.network_training import NetworkTraining
from connectomics.training.settings import TrainSettings

_STEPS = 2
"""From the second on, the optimiser's moments are there."""

_CONTEXT = 600_000_000
"""What CUDA itself and its libraries take of a GPU."""

_MMAP_THRESHOLD, _MAPPED = -3, 2**20
"""mallopt's name for the size from which memory is mapped apart, and that size in bytes."""

_CELL = 16
"""Edge of the objects in the made-up volume, voxels."""


@dataclass(frozen=True)
class StepMemory:
    """What steps with a crop add to the memory of a process that has all its modules and volumes.

    Attributes
    ----------
    crop : IntTriple
        Voxels, zyx.
    grown : int
        Bytes at the peak, on CUDA of the GPU.
    """

    crop: IntTriple
    grown: int


def measure_steps(settings: TrainSettings, crops: Sequence[IntTriple]) -> list[StepMemory]:
    """Take steps with each crop on a made-up volume, in another process, and say what they took.

    A process's own peak is measured, not that of its tensors: what convolutions copy beside them counts, too.

    Parameters
    ----------
    settings
        The run.
    crops
        Ascending; those from the first that runs out of memory on are left out.

    Raises
    ------
    RunFailed
        Not even the first could be measured.
    """
    task = {"settings": json.loads(settings.model_dump_json()), "crops": [list(crop) for crop in crops]}
    environment = dict(os.environ)
    first, *others = environment.get("CUDA_VISIBLE_DEVICES", "0").split(",")
    if others or torch.cuda.device_count() > 1:
        environment["CUDA_VISIBLE_DEVICES"] = first
    done = subprocess.run(
        [sys.executable, "-m", "connectomics.training.step_memory"],
        input=json.dumps(task), capture_output=True, text=True, env=environment,
    )  # fmt: skip
    rows = [json.loads(line) for line in done.stdout.splitlines() if line.startswith('{"crop"')]
    if not rows:
        last = (done.stderr.strip().splitlines() or [f"it ended with code {done.returncode}"])[-1]
        raise RunFailed(f"memory: a step with crop {crops[0]} could not be measured: {last}.")
    return [StepMemory(crop, row["grown"]) for crop, row in zip(crops, rows, strict=False)]


def main() -> None:
    """Measure what standard input asks for; the process ends where memory does."""
    return_freed_memory()
    task = json.loads(sys.stdin.read())
    settings = TrainSettings.parse(task["settings"])
    for crop in task["crops"]:
        one = settings.model_copy(
            update={"crop": tuple(crop), "steps": _STEPS, "max_minutes": None, "compile": False}
        )
        sys.stdout.write(json.dumps({"crop": crop, "grown": _grown(one)}) + "\n")
        sys.stdout.flush()


def _grown(settings: TrainSettings) -> int:
    """Bytes that steps with the settings' crop add."""
    from lightning.pytorch import Trainer  # here, so that it is there before, as in a run

    from connectomics.training.fitting import run_trainer

    module = _made_up(settings)
    cuda = settings.device != "cpu" and torch.cuda.is_available()
    if cuda:
        torch.cuda.reset_peak_memory_stats()
    before = restart_high_water()
    with tempfile.TemporaryDirectory() as folder:
        run_trainer(module, Path(folder), [], Trainer)
    return torch.cuda.max_memory_reserved() + _CONTEXT if cuda else high_water() - before


def _made_up(settings: TrainSettings) -> NetworkTraining:
    """A module with a volume of noise: cells of one size, or a pair of one crop's size."""
    from connectomics.training.detector import DetectorTraining
    from connectomics.training.module import AffinityTraining
    from connectomics.training.pairs import PairSource
    from connectomics.training.sources import Source
    from connectomics.training.translation import TranslationTraining, fine_crop

    random = np.random.default_rng(0)

    def noise(shape: Sequence[int]) -> torch.Tensor:
        return torch.from_numpy(random.integers(0, 256, shape, np.uint8))

    if settings.translation is not None:
        pair = PairSource(noise(settings.crop), noise(fine_crop(settings)), 1.0, 127.0, 74.0, 127.0, 74.0)
        return TranslationTraining(settings, [pair], Normalisation(mean=127, std=74))
    shape = [2 * n for n in settings.crop]  # what a turned crop reads fits inside
    z, y, x = (torch.arange(n) // _CELL for n in shape)
    labels = (z[:, None, None] * 101 + y[:, None] * 11 + x) % 997
    source = Source(noise(shape), labels.to(torch.int16), 1.0, 127.0, 74.0)
    return (DetectorTraining if settings.targets.detector else AffinityTraining)(settings, [source])


def return_freed_memory() -> None:
    """From now on give large tensors back to the system when they are freed, in this process.

    glibc alone does so above 32 MB; what it keeps of smaller ones does not fit the next ones, and a process
    was seen to take three times the memory of its tensors. Steps with small crops take longer for it.
    """
    with suppress(OSError, AttributeError):  # other systems have no glibc
        ctypes.CDLL("libc.so.6").mallopt(_MMAP_THRESHOLD, _MAPPED)


def restart_high_water() -> int:
    """Bytes that this process holds now, from which its high-water mark starts again where it can."""
    marks = Path("/proc/self/clear_refs")
    if marks.exists():
        marks.write_text("5")
    return int(psutil.Process().memory_info().rss)


def high_water() -> int:
    """The most bytes that this process has held."""
    status = Path("/proc/self/status")
    if status.exists():
        fields = dict(line.split(":", 1) for line in status.read_text().splitlines())
        return int(fields["VmHWM"].split()[0]) * 1024
    memory = psutil.Process().memory_info()
    if hasattr(memory, "peak_wset"):
        return int(memory.peak_wset)
    import resource

    return int(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)  # bytes on macOS


if __name__ == "__main__":
    main()
