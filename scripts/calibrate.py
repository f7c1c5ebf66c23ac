#!/usr/bin/env python3
"""Calibrate a model's uncertainty on a recipe's validation volumes, and write it into its contract.

    scripts/calibrate.py data/models/phantom-xnh data/recipes/phantom-xnh.toml
    scripts/calibrate.py data/models/fib25-em data/recipes/fib25-em.toml --network runs/fib25-em-start/model

Do it again whenever the segmentation settings in the contract have changed. --network takes the predictions
of another model of the same recipe: where the shipped one was refitted to its validation data, which then
say too much good of it, the one that it was refitted from has not seen them.
"""

import argparse
import json
import sys
from pathlib import Path

from connectomics.errors import ConnectomicsError
from connectomics.inference.predictor import predictor_for
from connectomics.inference.settings import InferenceSettings
from connectomics.networks.contract import write_contract
from connectomics.networks.models import CONTRACT_FILE, check_task, find_model
from connectomics.segmentation.calibration import COUNTS_KEY, UNDECIDED_KEY
from connectomics.settings import apply_overrides, read_toml
from connectomics.training.calibrate import calibrate
from connectomics.training.settings import TrainSettings


def main() -> None:
    options = parse()
    settings = TrainSettings.parse(apply_overrides(read_toml(options.recipe), options.set), options.recipe)
    model = find_model(options.model)
    network = find_model(options.network or options.model)
    for one in (model, network):
        check_task(one, translates=False)

    def predict(source):
        raw = source.raw.numpy()
        predictor = predictor_for(
            network, InferenceSettings(memory=options.memory), raw.__getitem__, raw.shape
        )
        return predictor.predict_box(raw.__getitem__, raw.shape, tuple(slice(0, n) for n in raw.shape))

    contract = calibrate(model.contract, predict, settings, options.cache)
    write_contract(model.weights.with_name(CONTRACT_FILE), contract)
    tables = contract.calibration or {}
    print(json.dumps({key: tables.get(key) for key in (COUNTS_KEY, UNDECIDED_KEY)}))


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("model", help="its folder, or a shipped model's name")
    parser.add_argument("recipe", help="TOML file with validation volumes")
    parser.add_argument("--network", help="model whose predictions are taken instead")
    parser.add_argument("--cache", type=Path, default=Path("runs/phantoms"), help="where phantoms are kept")
    parser.add_argument("--memory", default="2GB", help="for the network")
    parser.add_argument("--set", action="append", default=[], metavar="section.key=value")
    return parser.parse_args()


if __name__ == "__main__":
    try:
        main()
    except ConnectomicsError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(error.exit_code)
