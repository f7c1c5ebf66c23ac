#!/usr/bin/env python3
"""What a reversible U-Net gains and costs: gradients, memory and time, convolutions, accuracy. Prints JSON.

    scripts/benchmark_reversible.py gradients
    scripts/benchmark_reversible.py memory [--budget 8GB] [--filters 32 64 128 256] [--only NAME ...]
    scripts/benchmark_reversible.py convolutions [--edge 40]
    scripts/benchmark_reversible.py accuracy RUNS [--minutes 30] [--data phantom fib25] [--seeds 0 1 2]

`memory` compares networks of equal parameters (to 5%): the reversible one, its twin that stores activations,
the twin with plain activation checkpointing, BasicUNet and DynUNet. Each takes steps (cross-entropy, AdamW)
in processes of their own with crops of two sizes: bytes a voxel are the slope of the process's peak, and of
the tensors alive. Seconds are the processor's, on one thread. `accuracy` trains each arm for --minutes and
keeps its rows in --table; those there are not run again, so it may be stopped and started at any time.
"""

import argparse
import json
import math
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import torch
from benchmark_table import add_row, read_rows
from torch.nn import functional

from connectomics.inference.memory import parse_bytes
from connectomics.networks.bottleneck import BlockShape, make_function
from connectomics.networks.build import build_network, divisor_of
from connectomics.networks.contract import NetworkSettings
from connectomics.networks.cost import cost_of, count_parameters
from connectomics.networks.reversible import Coupling, ReversibleSequence
from connectomics.roi import int_triple
from connectomics.settings import read_toml
from connectomics.training.crop_choice import growing_crops
from connectomics.training.settings import TrainSettings
from connectomics.training.step_memory import high_water, restart_high_water, return_freed_memory

RECIPES = Path(__file__).parents[1] / "data/recipes"
FIB25 = Path(__file__).parents[2] / "shared/data/fib25/fib25_train2.h5"
FORMS = {
    "reversible": {},
    "twin": {"reversible": False, "checkpoint": False},
    "twin, checkpointed": {"reversible": False},
}
BATCH = 2
"""Crops a step of `memory`: a single small one, torch leaves to slow code (see `convolutions`)."""
BLOCKS = {"plain": ("plain", 1, None), "grouped": ("inverted", 2, 8), "depthwise": ("inverted", 2, 1)}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parts = parser.add_subparsers(dest="part", required=True)
    part = parts.add_parser("gradients", help="against stored activations, and the inversion of 32 blocks")
    part.add_argument("--edge", type=int, default=24)
    part = parts.add_parser("memory", help="crop that fits, bytes a voxel, seconds a step")
    part.add_argument("--budget", type=parse_bytes, default=parse_bytes("8GB"))
    part.add_argument("--filters", type=int, nargs="+", default=[32, 64, 128, 256])
    part.add_argument("--blocks", type=int, default=2)
    part.add_argument("--edges", type=int, nargs=2, default=[32, 48])
    part.add_argument("--only", nargs="+", help="networks to measure, of those named above")
    part = parts.add_parser("convolutions", help="depthwise, grouped and plain, by torch and OpenVINO")
    part.add_argument("--edge", type=int, default=40)
    part.add_argument("--channels", type=int, nargs="+", default=[16, 32, 64])
    part = parts.add_parser("accuracy", help="against DynUNet, at equal crop and at equal memory")
    part.add_argument("runs", type=Path)
    part.add_argument("--table", type=Path)
    part.add_argument("--minutes", type=float, default=30)
    part.add_argument("--data", nargs="+", default=["phantom", "fib25"], choices=["phantom", "fib25"])
    part.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    part.add_argument("--memory-of", type=int, default=64, help="edge of the crop whose memory both may take")
    part.add_argument("--set", action="append", default=[], metavar="section.key=value")
    part = parts.add_parser("step", help="one measurement of `memory`, in a process of its own")
    part.add_argument("network")
    part.add_argument("edge", type=int)
    options = parser.parse_args()
    torch.set_num_threads(1)
    for found in globals()[options.part](options):
        print(json.dumps(found), flush=True)


# --- gradients ---------------------------------------------------------------------------------------------


def gradients(options):
    """Relative errors of gradients against the twin's; of the halves after 32 blocks and back."""
    for dtype, mixed in ((torch.float32, False), (torch.float64, False), (torch.float32, True)):
        for dropout in (0.0, 0.3):
            found = {form: gradient(form, dtype, mixed, dropout, options.edge) for form in FORMS}
            exact = found.pop("twin")
            errors = {form: float((got - exact).norm() / exact.norm()) for form, got in found.items()}
            yield {"dtype": str(dtype), "bfloat16 autocast": mixed, "dropout": dropout, "error": errors}
    for dtype in (torch.float32, torch.float64):
        yield {"dtype": str(dtype), "blocks": 32, "inversion error": inversion(dtype, options.edge)}


def gradient(form, dtype, mixed, dropout, edge):
    torch.manual_seed(0)
    parameters = {"filters": [16, 32, 64], **FORMS[form]}
    network = build_network(
        NetworkSettings(name="ReversibleUNet", parameters=parameters, dropout=dropout), 1, 3
    )
    network.to(dtype)
    tile = torch.randn(1, 1, edge, edge, edge, dtype=dtype, requires_grad=True)
    with torch.autocast("cpu", torch.bfloat16, enabled=mixed):
        loss = network(tile).square().mean()
    loss.backward()
    return torch.cat([tile.grad.flatten(), *(p.grad.flatten() for p in network.parameters())])


def inversion(dtype, edge):
    torch.manual_seed(0)
    shape = BlockShape(gain=32**-0.5)
    couplings = [Coupling(make_function(16, shape), make_function(16, shape)) for _ in range(32)]
    blocks = ReversibleSequence(couplings, True, False).to(dtype).eval()
    halves = torch.randn(2, 1, 16, edge, edge, edge, dtype=dtype)
    with torch.no_grad():
        back = torch.stack(blocks.inverse(*blocks(*halves)))
    return float((back - halves).norm() / halves.norm())


# --- memory and time ---------------------------------------------------------------------------------------


def memory(options):
    """A row for each network, then the wider and deeper ones that the twin's memory holds (tensors)."""
    base = {"filters": options.filters, "blocks": options.blocks}
    wanted = count_parameters(build_network(NetworkSettings(name="ReversibleUNet", parameters=base), 1, 3))
    networks = {form: ("ReversibleUNet", base | more) for form, more in FORMS.items()}
    networks["BasicUNet"] = equal("BasicUNet", wanted)
    networks["DynUNet"] = equal("DynUNet", wanted)
    rows = {}
    for label, (name, parameters) in networks.items():
        if options.only and label not in options.only:
            continue
        settings = NetworkSettings(name=name, parameters=parameters)
        rows[label] = row(label, settings, options)
        yield rows[label]
    if not rows.keys() >= FORMS.keys():
        return
    twin, ours = rows["twin"], rows["reversible"]
    yield {
        "volume over the twin's": ratio(ours, twin, "voxels_in_budget"),
        "seconds over the twin's": ratio(ours, twin, "seconds_per_mvoxel"),
        "memory x time over plain checkpointing": ratio(ours, rows["twin, checkpointed"], "memory_x_time"),
    }
    for what, change in {
        "2x channels": {"filters": [2 * n for n in options.filters]},
        "+50% depth": {"blocks": math.ceil(1.5 * options.blocks)},
        "4x depth": {"blocks": 4 * options.blocks},
    }.items():
        settings = NetworkSettings(name="ReversibleUNet", parameters=base | change)
        per_voxel = cost_of(settings, 1, 3).training_bytes_per_voxel
        yield {"reversible": what, "tensor_bytes_per_voxel over the twin's": per_voxel / twin["tensor_bytes"]}


def ratio(ours, other, key):
    return round(ours[key] / other[key], 3)


def equal(name, wanted):
    """Parameters of a network that has about as many numbers to learn."""

    def parameters(width):
        widths = [width * 2**i for i in range(4)]
        if name == "DynUNet":
            return {"filters": widths, "res_block": True}
        return {"features": [width, *widths, width]}

    def lacking(width):
        network = build_network(NetworkSettings(name=name, parameters=parameters(width)), 1, 3)
        return abs(count_parameters(network) / wanted - 1)

    best = min(range(8, 65), key=lacking)
    if lacking(best) > 0.05:
        sys.exit(f"no {name} has within 5% of {wanted} parameters")
    return name, parameters(best)


def row(label, settings, options):
    steps = [in_a_process(settings, edge) for edge in options.edges]
    voxels = [BATCH * edge**3 for edge in options.edges]
    slope = (steps[1]["grown"] - steps[0]["grown"]) / (voxels[1] - voxels[0])
    start = steps[0]["before"] + steps[0]["grown"] - slope * voxels[0]
    fits = (options.budget - start) / slope
    cost = cost_of(settings, 1, 3)
    seconds = steps[1]["seconds"] / voxels[1] * 1e6
    return {
        "network": label,
        "parameters": cost.parameters,
        "tensor_bytes": cost.training_bytes_per_voxel,
        "process_bytes": round(slope, 1),
        "voxels_in_budget": round(fits),
        "edge_in_budget": round(fits ** (1 / 3)),
        "seconds_per_mvoxel": round(seconds, 2),
        "memory_x_time": round(slope * seconds),
        "kflop_per_voxel": round(cost.operations_per_voxel / 1e3),
        "receptive_field": cost.receptive_field[0],
    }


def in_a_process(settings, edge):
    command = [sys.executable, __file__, "step", settings.model_dump_json(), str(edge)]
    done = subprocess.run(command, capture_output=True, text=True, env=os.environ | {"OMP_NUM_THREADS": "1"})
    if done.returncode:
        sys.exit(done.stderr)
    return json.loads(done.stdout)


def step(options):
    """What two steps add to this process, and the processor's seconds of the second."""
    return_freed_memory()  # as 'train --memory' does; and as glibc does by itself with larger crops
    torch.manual_seed(0)
    network = build_network(NetworkSettings.parse(json.loads(options.network)), 1, 3)
    network.to(memory_format=torch.channels_last_3d)
    image = torch.randn(BATCH, 1, *[options.edge] * 3).to(memory_format=torch.channels_last_3d)
    target = (torch.rand(BATCH, 3, *[options.edge] * 3) > 0.5).float()
    before = restart_high_water()
    optimiser = torch.optim.AdamW(network.parameters())
    for _ in range(2):
        began = time.process_time()
        optimiser.zero_grad()
        functional.binary_cross_entropy_with_logits(network(image), target).backward()
        optimiser.step()
        seconds = time.process_time() - began
    yield {"before": before, "grown": high_water() - before, "seconds": seconds}


# --- convolutions ------------------------------------------------------------------------------------------


def convolutions(options):
    """Nanoseconds a voxel of one function of a block, by what its 3^3 convolution reads.

    Where one image's channels x z x y are no more than 20480, torch leaves ungrouped convolutions on a CPU
    to code that takes about eight times as long; the edge is above that.
    """
    for channels in options.channels:
        tile = torch.randn(1, channels, *[options.edge] * 3).to(memory_format=torch.channels_last_3d)
        for label, made in BLOCKS.items():
            torch.manual_seed(0)
            function = make_function(channels, BlockShape(*made)).to(memory_format=torch.channels_last_3d)
            named = {"channels": channels, "3^3": label, "parameters": count_parameters(function)}
            yield named | timed(function, tile)


def timed(function, tile):
    return {
        "torch forward": nanoseconds(lambda: forward(function, tile), tile),
        "torch forward + backward": nanoseconds(lambda: backward(function, tile), tile),
        "openvino": nanoseconds(in_openvino(function, tile), tile),
        "norm alone": nanoseconds(lambda: forward(function[0], tile), tile),
        **on_a_gpu(function, tile),
    }


def forward(function, tile):
    with torch.no_grad():
        function(tile)


def backward(function, tile):
    function(tile.detach().requires_grad_()).sum().backward()


def in_openvino(function, tile):
    import openvino

    with torch.no_grad():
        model = openvino.convert_model(function.eval(), example_input=tile, input=[list(tile.shape)])
    config = {"INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": 1}
    request = openvino.Core().compile_model(model, "CPU", config).create_infer_request()
    array = tile.contiguous().numpy()
    return lambda: request.infer([array])


def on_a_gpu(function, tile):
    if not torch.cuda.is_available():
        return {}
    function, tile = function.cuda(), tile.cuda()

    def synchronised(call):
        call(function, tile)
        torch.cuda.synchronize()

    found = {
        "cuda forward": nanoseconds(lambda: synchronised(forward), tile, time.perf_counter),
        "cuda forward + backward": nanoseconds(lambda: synchronised(backward), tile, time.perf_counter),
    }
    function.cpu()
    return found


def nanoseconds(call, tile, clock=time.process_time):
    """The fastest of a few calls, per voxel: of the processor's time, which other work disturbs less."""
    call()
    best = math.inf
    for _ in range(5):
        began = clock()
        call()
        best = min(best, clock() - began)
    return round(best / math.prod(tile.shape[2:]) * 1e9)


# --- accuracy ----------------------------------------------------------------------------------------------

ARMS = ["DynUNet", "reversible, equal crop", "reversible, equal memory"]
TASKS = {"phantom": "phantom-reversible.toml", "fib25": "fib25-em-start.toml"}
NETWORKS = {
    "DynUNet": {"name": "DynUNet", "parameters": {"filters": [16, 32, 64, 128], "res_block": True}},
    "reversible": {"name": "ReversibleUNet", "parameters": {"filters": [20, 40, 80, 160], "blocks": 2}},
}
THRESHOLDS = np.round(np.arange(0.1, 0.95, 0.05), 2)


def accuracy(options):
    """VOI of each arm on what no training saw, the threshold chosen on its validation data."""
    table = options.table or options.runs / "accuracy.json"
    for task in options.data:
        for seed in options.seeds:
            for arm in ARMS:
                key = {"data": task, "seed": seed, "arm": arm, "minutes": options.minutes}
                found = next((one for one in read_rows(table) if key.items() <= one.items()), None)
                if found is None:
                    found = key | trained(options, task, seed, arm)
                    add_row(table, found)
                yield found


def trained(options, task, seed, arm):
    from connectomics.networks.models import find_model
    from connectomics.settings import apply_overrides
    from connectomics.training.train import train

    dyn, ours = (NetworkSettings.parse(NETWORKS[name]) for name in ("DynUNet", "reversible"))
    crop = (options.memory_of,) * 3
    if arm == ARMS[2]:
        bytes_each = [cost_of(network, 1, 19).training_bytes_per_voxel for network in (dyn, ours)]
        allowed = math.prod(crop) * bytes_each[0] / bytes_each[1]
        larger = growing_crops(crop, int_triple(divisor_of(ours), "divisor"), (120, 160, 160))
        crop = [one for one in larger if math.prod(one) <= allowed][-1]
    values = read_toml(RECIPES / TASKS[task]) | {
        "seed": seed, "max_minutes": options.minutes, "steps": 10**6, "crop": list(crop), "batch": 1,
        "network": NETWORKS["DynUNet" if arm == ARMS[0] else "reversible"],
    }  # fmt: skip
    if task == "fib25":
        values["data"]["root"] = str(FIB25.parent)
    settings = TrainSettings.parse(apply_overrides(values, options.set))
    folder = options.runs / f"{task}-{seed}-{arm.replace(', ', '-').replace(' ', '-')}"
    share_phantoms(options.runs, folder)
    model = find_model(train(settings, folder))
    chosen = min(scored(model, task, False, options.runs), key=lambda one: one[1]["voi_sum"])[0]
    (_, scores), *_ = scored(model, task, True, options.runs, [chosen])
    return {
        "crop": list(crop),
        "steps": model.contract.training.steps,
        "threshold": float(chosen),
        **{key: round(float(scores[key]), 4) for key in ("voi_sum", "voi_split", "voi_merge")},
    }


def share_phantoms(runs, folder):
    """Let all runs keep their phantoms in one place: making them takes about as long as training."""
    if not (folder / "phantoms").exists():
        (runs / "phantoms").mkdir(parents=True, exist_ok=True)
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "phantoms").symlink_to((runs / "phantoms").resolve(), target_is_directory=True)


def scored(model, task, reported, runs, thresholds=THRESHOLDS):
    """Thresholds with VOI, over what is reported or over what thresholds are chosen on."""
    from connectomics.evaluation.volumes import VoiTable
    from connectomics.inference.predictor import predictor_for
    from connectomics.inference.settings import InferenceSettings
    from connectomics.segmentation.settings import SegmentationSettings
    from connectomics.segmentation.whole import at_thresholds

    settings = SegmentationSettings.parse({"linkage": "mean"})
    found = {float(threshold): [] for threshold in thresholds}
    for raw, truth, kept in cases(task, reported, runs):
        predictor = predictor_for(model, InferenceSettings(), raw.__getitem__, raw.shape)
        box = tuple(slice(0, n) for n in raw.shape)
        affinities = predictor.predict_box(raw.__getitem__, raw.shape, box)[(slice(None), *kept)]
        for threshold, labels in at_thresholds(affinities, model.contract.offsets, settings, [*found]):
            table = VoiTable()
            table.add(labels, truth[kept])
            found[threshold].append(table.scores())
    names = ("voi_sum", "voi_split", "voi_merge")
    return [(t, {name: np.mean([s[name] for s in some]) for name in names}) for t, some in found.items()]


def cases(task, reported, runs):
    """Image, truth, and the part that counts."""
    from connectomics.phantom.phantom import Phantom
    from connectomics.phantom.settings import PhantomSettings

    if task == "phantom":
        for seed in (2000, 2001, 2002) if reported else (1000,):
            kept = runs / f"phantoms/judged-{seed}.npz"
            if not kept.exists():
                phantom, box = Phantom(PhantomSettings(seed=seed, difficulty="hard")), (slice(0, 160),) * 3
                np.savez(kept, xray=phantom.xray(box), labels=phantom.labels(box))
            with np.load(kept) as found:
                yield found["xray"], found["labels"], (slice(None),) * 3
        return
    import h5py

    with h5py.File(FIB25) as file:
        low, first = (140, 150) if reported else (96, 120)
        high = file["raw"].shape[0] if reported else 140
        kept = (slice(first - low, None), slice(None), slice(None))
        yield file["raw"][low:high], file["labels"][low:high].astype(np.uint64), kept


if __name__ == "__main__":
    main()
