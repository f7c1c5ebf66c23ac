"""Look this machine over: what a run would find here, and what would stop it."""

import importlib.metadata
import math
import os
import platform
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import psutil

from connectomics import __version__
from connectomics.errors import ConnectomicsError
from connectomics.inference.settings import InferenceSettings
from connectomics.io.describe import describe
from connectomics.pipeline.settings import RegionSettings, RunSettings
from connectomics.segmentation.settings import Linkage

PACKAGES = (
    "torch", "monai", "lightning", "openvino", "zarr", "h5py", "tensorstore", "numba", "bioimage-cpp",
    "distributed", "dask-jobqueue", "napari",
)  # fmt: skip
"""Packages whose versions matter most; the last three are optional."""

OPTIONAL = {"distributed", "dask-jobqueue", "napari"}

ENOUGH_DISK = 10e9


@dataclass(frozen=True)
class Finding:
    """What one look found.

    Attributes
    ----------
    what : str
        What was looked at.
    state : str
        "ok", "note" (worth knowing) or "bad" (a run would fail).
    text : str
        What was found, and what to do where it is bad.
    """

    what: str
    state: Literal["ok", "note", "bad"]
    text: str


@dataclass(frozen=True)
class Asked:
    """What a run would be given.

    Attributes
    ----------
    volume, model
        Location to read, and the model to run on it, where they are known.
    region, inference, run_settings
        As a run would be given them.
    rescale
        Resample the input to the model's voxel size.
    cascade
        Cascade file or name.
    segmentation
        Segmentation settings that are not the model's.
    """

    volume: str | None
    model: str | None
    region: RegionSettings
    inference: InferenceSettings
    run_settings: RunSettings
    rescale: bool = False
    cascade: str | None = None
    segmentation: Mapping[str, Any] = field(default_factory=dict)


def examine(asked: Asked) -> list[Finding]:
    """Look at Python, packages, device, memory, disk and, where given, cluster, volume, model and cascade."""
    volume, model = asked.volume, asked.model
    looks: list[tuple[str, Callable[[], Iterator[Finding]]]] = [
        ("Python", _python),
        ("packages", _packages),
        ("processor", _processor),
        ("memory", lambda: _memory(asked.inference)),
        ("disk", _disk),
        ("device", lambda: _device(asked.inference)),
    ]
    if asked.run_settings.cluster is not None:
        looks.append(("cluster", lambda: _cluster(asked.run_settings)))
    if volume is not None:
        looks.append(("volume", lambda: _volume(volume, asked.region)))
    if model is not None and volume is None:
        looks.append(("model", lambda: _model(model)))
    if volume is not None:
        looks.append(("global step", lambda: _global_step(volume, asked)))
    if volume is not None and asked.cascade is not None:
        looks.append(("cascade", lambda: _cascade(volume, asked)))
    if volume is not None and model is not None:
        looks.append(("tiles", lambda: _tiles(volume, model, asked)))
    findings: list[Finding] = []
    for what, look in looks:
        try:
            findings += look()
        except ConnectomicsError as error:
            if not any(finding.text == str(error) for finding in findings):
                findings.append(Finding(what, "bad", str(error)))
    return findings


def _model(name: str) -> Iterator[Finding]:
    from connectomics.networks.models import find_model

    contract = find_model(name).contract
    yield Finding("model", "ok", f"{contract.name}: {contract.modality}, {contract.voxel_size} nm a voxel")


def _python() -> Iterator[Finding]:
    yield Finding("Python", "ok", f"{platform.python_version()} on {platform.platform()}, {sys.executable}")


def _packages() -> Iterator[Finding]:
    yield Finding("xray-connectomics", "ok", __version__)
    missing = []
    versions = []
    for name in PACKAGES:
        try:
            versions.append(f"{name} {importlib.metadata.version(name)}")
        except importlib.metadata.PackageNotFoundError:
            missing.append(name)
    yield Finding("packages", "ok", ", ".join(versions))
    needed = [name for name in missing if name not in OPTIONAL]
    if needed:
        yield Finding("packages", "bad", f"missing: {', '.join(needed)}. Install xray-connectomics again.")
    if set(missing) & OPTIONAL:
        extras = ", ".join(name for name in missing if name in OPTIONAL)
        yield Finding("packages", "note", f"not installed (extras cluster, napari): {extras}")


def _processor() -> Iterator[Finding]:
    from connectomics.inference.choice import has_bf16

    cores = len(os.sched_getaffinity(0))
    bf16 = "with" if has_bf16("cpu") else "without"
    yield Finding("processor", "ok", f"{cores} cores for this process, {bf16} bfloat16 instructions")
    if os.getloadavg()[0] > cores:
        yield Finding("processor", "note", f"load {os.getloadavg()[0]:.1f}: others are working here too")


def _memory(inference: InferenceSettings) -> Iterator[Finding]:
    memory = psutil.virtual_memory()
    limit = _cgroup_limit()
    there = min(memory.available, limit or memory.available)
    state: Literal["ok", "bad"] = "ok" if inference.memory <= there else "bad"
    advice = "" if state == "ok" else f" Give --memory {there * 0.8 / 1e9:.0f}GB or less."
    yield Finding(
        "memory", state, f"{there / 1e9:.1f} GB free, --memory takes {inference.memory / 1e9:.1f} GB.{advice}"
    )


def _cgroup_limit() -> int | None:
    """The container's memory limit, bytes, where there is one."""
    try:
        text = Path("/sys/fs/cgroup/memory.max").read_text().strip()
    except OSError:
        return None
    return int(text) if text.isdigit() else None


def _disk() -> Iterator[Finding]:
    for what, folder in (("scratch disk", Path(tempfile.gettempdir())), ("working folder", Path.cwd())):
        free = shutil.disk_usage(folder).free
        writable = os.access(folder, os.W_OK)
        state: Literal["ok", "note", "bad"] = "ok" if free > ENOUGH_DISK else "note"
        text = f"{folder}: {free / 1e9:.0f} GB free"
        if not writable:
            state, text = "bad", f"{folder}: cannot be written to. Choose another folder."
        yield Finding(what, state, text)


def _device(inference: InferenceSettings) -> Iterator[Finding]:
    from connectomics.inference.choice import choose

    choice = choose(inference)
    text = f"{choice.device}, {choice.engine}, {choice.precision}: {choice.reason}"
    if choice.device == "cuda":
        import torch

        free, total = torch.cuda.mem_get_info()
        text += f"; {free / 1e9:.1f} of {total / 1e9:.1f} GB free on the GPU"
    yield Finding("device", "ok", text)


def _cluster(run_settings: RunSettings) -> Iterator[Finding]:
    from connectomics.pipeline.resources import open_pool

    with open_pool(run_settings) as pool:
        yield Finding("cluster", "ok", f"{run_settings.cluster}: answers, {pool.size} worker threads")


def _volume(volume: str, region: RegionSettings) -> Iterator[Finding]:
    from connectomics.io.checks import check_image
    from connectomics.io.opening import open_volume
    from connectomics.pipeline.region import select_region

    facts = describe(volume, region.voxel_size)
    yield Finding("volume", "ok", "; ".join(f"{key} {value}" for key, value in facts.items()))
    opened = open_volume(volume, region.voxel_size, channels=True)
    if opened.channels is None:
        check_image(opened, select_region(opened, region).box)
        yield Finding("volume", "ok", "holds an image: no NaN, not constant, in the blocks looked at")


def _global_step(volume: str, asked: Asked) -> Iterator[Finding]:
    from connectomics.io.opening import open_volume
    from connectomics.networks.models import find_model
    from connectomics.pipeline import graph_memory as known
    from connectomics.pipeline.region import select_region
    from connectomics.pipeline.segment import segmentation_settings

    opened, inference = open_volume(volume, asked.region.voxel_size, channels=True), asked.inference
    voxels = math.prod(select_region(opened, asked.region).shape)
    linkage: Linkage = asked.segmentation.get("linkage", "mean")
    if asked.model is not None and find_model(asked.model).contract.offsets:
        model = find_model(asked.model)
        linkage = segmentation_settings(model, asked.segmentation).linkage
        if asked.rescale:
            voxels = round(voxels * math.prod(opened.voxel_size) / math.prod(model.contract.voxel_size))
    here, worker = known.numbering_bytes(voxels), known.component_bytes(voxels, linkage)
    fits = here + worker <= inference.memory
    advice = "" if fits else " More than --memory: segment it on a machine with more, or in parts."
    yield Finding(
        "global step",
        "ok" if fits else "note",
        f"at {known.FRAGMENTS_PER_MVOXEL} fragments per Mvoxel and {known.EDGES_PER_FRAGMENT} edges each: "
        f"{here / 1e9:.2g} GB to number the fragments ({known.BYTES_PER_FRAGMENT} MB per million), up to "
        f"{worker / 1e9:.2g} GB in a worker ({linkage}: {known.BYTES_PER_EDGE[linkage]} MB per million edges "
        f"of the largest component); {inference.memory / 1e9:.1f} GB suffice for about "
        f"{known.voxels_that_fit(inference.memory) / 1e9:.0f} Gvoxel.{advice}",
    )


def _cascade(volume: str, asked: Asked) -> Iterator[Finding]:
    from connectomics.cascade.plan import check_voxel_size
    from connectomics.cascade.settings import read_cascade
    from connectomics.io.opening import open_volume
    from connectomics.pipeline.cascade import check_cascade

    cascade = read_cascade(asked.cascade or "")
    check_voxel_size(cascade, open_volume(volume, asked.region.voxel_size).voxel_size, volume)
    if asked.model is not None:
        check_cascade(cascade, asked.model, asked.rescale)
    text = f"{cascade.name}: for {cascade.modality} volumes of {cascade.voxel_size} nm a voxel"
    yield Finding("cascade", "ok", f"{text}; 'connectomics cascade plan' says what it would take")


def _tiles(volume: str, model: str, asked: Asked) -> Iterator[Finding]:
    from connectomics.inference.passes import default_samples
    from connectomics.inference.predictor import predictor_for
    from connectomics.pipeline.input import open_input
    from connectomics.pipeline.resources import check_block

    inference = asked.inference
    given = open_input(volume, model, asked.region, asked.rescale)
    check_block(asked.run_settings, given.region.shape)
    source = given.region.volume
    contract = given.model.contract
    samples = default_samples(contract, inference.flips) if contract.translates else 1
    predictor = predictor_for(given.model, inference, source.read_box, source.shape, samples=samples)
    lattice = predictor.lattice(source.shape)
    yield Finding(
        "tiles",
        "ok",
        f"cores of {lattice.core} voxels with {lattice.margin} of context, "
        f"{lattice.largest / 1e6:.1f} Mvoxel a call: the fewest voxels computed of all that fit in "
        f"{inference.memory / 1e9:.1f} GB; about "
        f"{predictor.peak_bytes(source.shape) / 1e9:.1f} GB at the peak of the network",
    )


def summary(findings: list[Finding]) -> dict[str, Any]:
    """The findings for a report: under each thing looked at, its states and texts."""
    report: dict[str, Any] = {}
    for one in findings:
        text = one.text if one.state == "ok" else f"{one.state.upper()}: {one.text}"
        report[one.what] = f"{report[one.what]}; {text}" if one.what in report else text
    return report
