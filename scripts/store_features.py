#!/usr/bin/env python3
"""Store what a model sees in its own training images beside its weights, for `connectomics adapt rank`.

    scripts/store_features.py data/models/phantom-xnh data/recipes/phantom-xnh.toml
    scripts/store_features.py data/models/fib25-em data/recipes/fib25-em.toml

`connectomics train` does it by itself at the end of a run; this is for models that were trained before, and
for those whose weights have changed. The recipe says what the model was fitted to; phantoms are made anew.
"""

import argparse
import json
import sys
from pathlib import Path

from connectomics.errors import ConnectomicsError
from connectomics.networks.models import find_model
from connectomics.training.annotations import with_annotations
from connectomics.training.settings import TrainSettings
from connectomics.training.source_features import store_features
from connectomics.training.train import load_sources, read_recipe


def main() -> None:
    options = parse()
    settings = TrainSettings.parse(read_recipe(options.recipe, options.set), options.recipe)
    model = find_model(options.model)
    sources, _ = load_sources(with_annotations(settings), options.cache)
    contract = store_features(model, sources, options.count, options.seed)
    features = contract.features
    print(json.dumps(None if features is None else features.model_dump(mode="json")))


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("model", help="its folder, or a shipped model's name")
    parser.add_argument("recipe", help="TOML file that it was trained with")
    parser.add_argument("--count", type=int, default=256, help="crops, shared out among the volumes")
    parser.add_argument("--seed", type=int, default=0, help="of where crops are cut")
    parser.add_argument("--cache", type=Path, default=Path("runs/phantoms"), help="where phantoms are kept")
    parser.add_argument("--set", action="append", default=[], metavar="section.key=value")
    return parser.parse_args()


if __name__ == "__main__":
    try:
        main()
    except ConnectomicsError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(error.exit_code)
