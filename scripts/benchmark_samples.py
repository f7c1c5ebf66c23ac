#!/usr/bin/env python3
"""What the uncertainty of a translation costs: seconds of n passes over those of one forward pass.

    scripts/benchmark_samples.py [--model xnh-to-em] [--samples 2 4 8] [--shape 96] [--repeats 3]

One forward pass is the bare network (no dropout drawn, no variances summed) on the same tile. Against it
stands what `translate` does with a tile: it is loaded, passed n times, and mean and variances are summed.
Medians of --repeats rounds, in which each takes its turn. Goal: at most n + 0.3.
"""

import argparse
import json
import statistics
import time
from collections.abc import Callable

import torch

from connectomics.inference.choice import choose
from connectomics.inference.predictor import predictor_for
from connectomics.inference.settings import InferenceSettings
from connectomics.inference.torch_engine import TorchDevice
from connectomics.inference.translation_engine import prepare
from connectomics.networks.checkpoint import load_network
from connectomics.networks.models import find_model
from connectomics.phantom.phantom import Phantom
from connectomics.phantom.settings import PhantomSettings

SEED = 2000


def main() -> None:
    options = parse()
    model, settings = find_model(options.model), InferenceSettings()
    size = model.contract.voxel_size[0]
    edges = (options.shape,) * 3
    z, y, x = (slice(0, n) for n in edges)
    image = Phantom(PhantomSettings(seed=SEED, voxel_size=size)).xray((z, y, x))
    read = image.__getitem__
    runs: dict[int, Callable[[], object]] = {0: bare_pass(model, settings, read, edges)}
    for samples in options.samples:
        predictor = predictor_for(model, settings, read, edges, samples=samples)
        box = next(iter(predictor.lattice(edges).tiles())).core
        runs[samples] = lambda p=predictor, b=box: p.predict_box(read, edges, b)
    seconds: dict[int, list[float]] = {samples: [] for samples in runs}
    for round_ in range(options.repeats + 1):
        for samples, call in runs.items():
            began = time.perf_counter()
            call()
            if round_:  # the first compiles
                seconds[samples].append(time.perf_counter() - began)
    median = {samples: statistics.median(some) for samples, some in seconds.items()}
    for samples in options.samples:
        passes = [a / b for a, b in zip(seconds[samples], seconds[0], strict=True)]
        row = {"samples": samples, "seconds": round(median[samples], 3), "goal": samples + 0.3}
        print(json.dumps(row | {"passes": round(median[samples] / median[0], 3), "of each round": passes}))


def bare_pass(model, settings: InferenceSettings, read, edges) -> Callable[[], object]:
    """The network alone on the first tile, as a translation has it on the device."""
    predictor = predictor_for(model, settings, read, edges, samples=max(2, model.contract.members))
    tile = next(iter(predictor.lattice(edges).tiles()))
    choice = choose(settings.model_copy(update={"engine": "torch"}))
    device = TorchDevice(choice.device, settings.threads, choice.precision)
    network = device.place(prepare(load_network(model, 0), model.contract))
    source = device.tensor(torch.randn(1, model.contract.in_channels, *tile.shape).numpy())

    def call() -> object:
        with torch.inference_mode():
            return network(source)

    return call


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--model", default="xnh-to-em")
    parser.add_argument("--samples", type=int, nargs="+", default=[2, 4, 8])
    parser.add_argument("--shape", type=int, default=96)
    parser.add_argument("--repeats", type=int, default=3)
    return parser.parse_args()


if __name__ == "__main__":
    main()
