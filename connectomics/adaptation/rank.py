"""Which models fit a volume: how far its crops lie from the crops that each was trained on."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from connectomics.adaptation.features import normalisation_of, target_crops, target_features
from connectomics.adaptation.mmd import compare_samples, within_source
from connectomics.adaptation.scores import Score, expected_scores, known_as
from connectomics.adaptation.settings import RankSettings
from connectomics.blockwise.progress import Progress
from connectomics.errors import InputError, ModelError
from connectomics.inference.rescale import read_rescaled
from connectomics.io.volume import Volume
from connectomics.networks.feature_file import MAKE_THEM, read_features
from connectomics.networks.models import Model, fits_voxel_size, shipped_folders

LEAST = 0.05
"""A volume fits whose crops cannot be told from the training crops: its p-value is not below this."""

SPREAD = 3.0
"""So does one that is no more than this many times as far from them as they are, on average, from each other,
volume by volume: with enough crops any two volumes can be told apart."""

_LEAST_SPREAD = 1e-3
"""Volumes that cannot be told apart count as this far from each other."""

Report = dict[str, Any]


def rank_models(
    volume: Volume,
    models: Sequence[Model],
    settings: RankSettings,
    device: str,
    progress: Progress,
    scores: Sequence[Score] = (),
) -> Report:
    """Models by how near their training images are to a volume, or by how well they may be expected to do.

    Parameters
    ----------
    volume
        (z, y, x) image.
    models
        Those without features are listed, not ranked.
    settings
        What is compared.
    device
        Where networks run, ``cpu`` or ``cuda``.
    progress
        Told of the models.
    scores
        Of the models on each other's data: models are then ranked by what is expected of them.

    Returns
    -------
    dict
        ``ranking``, best first: each ``model``, ``mmd2``, ``p_value``, ``mmd2_low`` and ``mmd2_high``
        (bootstrap interval), ``mmd2_within`` (how far each of its own training volumes lies from the others,
        on average; null where that is not known), ``relative`` (to that), ``fits`` (see `LEAST` and
        `SPREAD`), ``rescale`` (the volume has another voxel size), ``crops``, ``overlap``, ``expected`` (VOI
        over that of the average model; null where scores do not tell). ``not_ranked``: each ``model``,
        ``reason``. ``none_fits``, ``advice``, ``features``.

    Raises
    ------
    InputError
        Scores that say nothing of these models, or distances that do not compare them.
    """
    _check_scores(scores, models, settings)
    ranking, left = [], []
    progress.start("rank", len(models), 0, "models")
    for model in models:
        try:
            ranking.append(_compare(volume, model, settings, device))
        except InputError as error:  # of this model, or too small a volume at its voxel size
            left.append({"model": model_name(model), "reason": str(error)})
        progress.advance("rank")
    progress.finish("rank")
    expected = expected_scores(scores, {known_as(row["model"]): row["mmd2"] for row in ranking})
    for row in ranking:
        row["expected"] = expected.get(known_as(row["model"]))
    ranking.sort(key=lambda row: (_or_last(row["expected"]), _or_last(row[settings.order]), row["model"]))
    none = not any(row["fits"] for row in ranking)
    return {
        "ranking": ranking,
        "not_ranked": left,
        "none_fits": none,
        "advice": _advice(ranking, none) + _left_out(left),
        "features": settings.features,
    }


def model_name(model: Model) -> str:
    """What `--model` finds it by: the name of a shipped model; the folder of any other."""
    folder = model.weights.parent
    return folder.name if folder.parent in shipped_folders() else str(folder)


def _check_scores(scores: Sequence[Score], models: Sequence[Model], settings: RankSettings) -> None:
    if not scores:
        return
    if settings.features != "common":
        raise InputError(
            f"scores weigh data by their distance, which features '{settings.features}' of different "
            "networks do not compare: leave out --features"
        )
    names = [known_as(model_name(model)) for model in models]
    if not expected_scores(scores, dict.fromkeys(names, 0.0)).keys() & set(names):
        raise InputError(
            f"the {len(scores)} scores say nothing of the models compared ({', '.join(names)}): they need "
            "two models at least on data of one of these; name models as for --model"
        )


def _compare(volume: Volume, model: Model, settings: RankSettings, device: str) -> Report:
    name, record = model_name(model), model.contract.features
    stored = read_features(model)
    if record is None or stored is None:
        raise ModelError(f"no features stored: {MAKE_THEM.format(name=name)}")
    rescale = not fits_voxel_size(model, volume.voxel_size)
    seen = read_rescaled(volume, model.contract.voxel_size) if rescale else volume
    crops = target_crops(seen, normalisation_of(model, seen), record.crop, settings.crops, settings.seed)
    target = target_features(model, record, crops, settings.features, device)
    source = getattr(stored, settings.features)
    if source.shape[1] != target.shape[1]:
        raise ModelError(
            f"{record.file} has {source.shape[1]} features a crop, the network gives {target.shape[1]}: "
            f"{MAKE_THEM.format(name=name)}"
        )
    found, kernel = compare_samples(source, target, settings.permutations, seed=settings.seed)
    own = within_source(kernel, stored.group)
    average = float(np.mean(own)) if len(own) else None
    near = found.p_value >= LEAST or (average is not None and found.mmd2 <= SPREAD * average)
    return {
        "model": name,
        "mmd2": found.mmd2,
        "p_value": found.p_value,
        "mmd2_low": found.low,
        "mmd2_high": found.high,
        "mmd2_within": average,
        "relative": relative_distance(found.mmd2, average),
        "fits": near,
        "rescale": rescale,
        "crops": len(target),
        "overlap": crops.overlap,
    }


def relative_distance(mmd2: float, within: float | None) -> float | None:
    """Squared MMD over the average one between a model's own volumes; None where that is not known."""
    return None if within is None else mmd2 / max(within, _LEAST_SPREAD)


def _or_last(value: float | None) -> float:
    return float("inf") if value is None else value


def _left_out(left: Sequence[Report]) -> str:
    names = ", ".join(f"'{one['model']}'" for one in left)
    return f" Not compared, and possibly nearer: {names}." if left else ""


def _advice(ranking: Sequence[Report], none: bool) -> str:
    if not ranking:
        return "no model could be compared; the reasons are beside their names."
    best = ranking[0]
    if best["expected"] is not None:
        return _expected(best, none)
    rescaled = " (with --rescale)" if best["rescale"] else ""
    if none:
        return (
            "none fits: the volume lies farther from the training images of every model compared than those "
            f"lie from each other. The nearest is '{best['model']}'{rescaled}: annotate some crops (adapt "
            "select) and fine-tune it (adapt finetune)."
        )
    return f"'{best['model']}'{rescaled} is nearest" + (
        " and fits." if best["fits"] else ", though only others are within their own spread."
    )


def _expected(best: Report, none: bool) -> str:
    rescaled = " (with --rescale)" if best["rescale"] else ""
    return (
        f"'{best['model']}'{rescaled} is expected to do best: {best['expected']:.2g} times the VOI of the "
        "average model, by the scores on data that look like these."
        + (" None was trained on such images, so annotate some crops (adapt select)." if none else "")
    )
