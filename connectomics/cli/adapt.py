"""`connectomics adapt`: for a new volume, choose a model and crops to annotate, fine-tune, plan."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

from cyclopts import App, Parameter

from connectomics.adaptation.settings import AdaptSettings, PlanSettings, RankSettings, SelectSettings
from connectomics.cli.options import REGION, REPORT, Region, Report, deliver
from connectomics.cli.segment import NETWORK, Network
from connectomics.cli.session import session
from connectomics.io.place import local_path

adapt = App(
    name="adapt",
    help="A new volume: which model fits it, what to annotate, fine-tuning, and what more would buy.",
)

Ranking = Annotated[RankSettings, Parameter(name="*", group="Parameters")]
Selection = Annotated[SelectSettings, Parameter(name="*", group="Parameters")]
Learning = Annotated[AdaptSettings, Parameter(name="*", group="Parameters")]
Planning = Annotated[PlanSettings, Parameter(name="*", group="Parameters")]

RANKING, SELECTION, LEARNING, PLANNING = RankSettings(), SelectSettings(), AdaptSettings(), PlanSettings()


@adapt.command
def rank(
    volume: str,
    *,
    model: Annotated[list[str] | None, Parameter(negative="")] = None,
    scores: Path | None = None,
    settings: Ranking = RANKING,
    region: Region = REGION,
    network: Network = NETWORK,
    report: Report = REPORT,
) -> None:
    """Say which models were trained on images like these: squared MMD, p-value, and whether any fits.

    Likeness alone foretells the VOI badly (see the README's results): give --scores where there are any.

    Parameters
    ----------
    volume
        Path or URL of an OME-Zarr, HDF5, TIFF, N5 or precomputed volume.
    model
        Name of a shipped model or path of a model folder; may be given many times. Default: every shipped
        model that segments.
    scores
        JSON file, a list of {"model": NAME, "data": NAME, "voi_sum": BITS}: how well a model did on data like
        those that another, or the same, was trained on. Models are then ranked by what that lets expect of
        them here: data that look like the volume count most.
    """
    from connectomics.pipeline.adapt import rank as run

    with session(report) as display:
        result = run(volume, model or [], settings, region, network, display, scores)
    lines = [
        f"{row['model']}: MMD^2 {row['mmd2']:.4f} ({row['mmd2_low']:.4f} to {row['mmd2_high']:.4f}), "
        f"p {row['p_value']:.3g}, {'fits' if row['fits'] else 'does not fit'}"
        + (f", expected VOI {row['expected']:.2g} of the average" if row["expected"] is not None else "")
        + (" (needs --rescale)" if row["rescale"] else "")
        for row in result["ranking"]
    ]
    lines += [f"{row['model']}: not ranked: {row['reason']}" for row in result["not_ranked"]]
    deliver(result, report, "adapt rank", shown={"advice": result["advice"]}, below=lines)


@adapt.command
def select(
    volume: str,
    out_dir: Path,
    *,
    model: str,
    count: Annotated[int, Parameter(name=["-n", "--count"])],
    rescale: Annotated[bool, Parameter(negative="")] = False,
    exclude: Annotated[list[Path] | None, Parameter(negative="")] = None,
    settings: Selection = SELECTION,
    region: Region = REGION,
    network: Network = NETWORK,
    report: Report = REPORT,
) -> None:
    """Cut out the crops that are most worth annotating, each with the model's proposal and an empty label.

    OUT_DIR holds todo.json (the crops in order), NAME.zarr with raw, labels/proposal and labels/annotation
    for each, and a recipe: `connectomics train OUT_DIR` and `adapt finetune` learn from those that are
    annotated, all or only some.

    Parameters
    ----------
    volume
        Path or URL of an OME-Zarr, HDF5, TIFF, N5 or precomputed volume.
    out_dir
        Folder to write; must not exist.
    model
        Name of a shipped model or path of a model folder: what is to be adapted.
    count
        How many crops to annotate.
    rescale
        Resample the volume to the model's voxel size.
    exclude
        Folder that an earlier `adapt select` wrote: its places are left out. May be given many times.
    """
    from connectomics.pipeline.adapt import select as run

    folder = local_path(out_dir, "OUT_DIR")
    with session(report) as display:
        result = run(
            volume,
            model,
            count,
            folder,
            settings,
            region=region,
            inference=network,
            rescale=rescale,
            exclude=exclude or [],
            progress=display,
        )
    lines = [f"{crop['name']}: {crop['use']}, score {crop['score']:.4g}" for crop in result["crops"]]
    shown = {key: value for key, value in result.items() if key != "crops"}
    deliver(result, report, "adapt select", shown=shown, below=lines)


@adapt.command
def finetune(
    *,
    model: str,
    annotations: Path,
    output: Path,
    validation: Path | None = None,
    label_free: Annotated[bool, Parameter(negative="")] = False,
    device: Annotated[str, Parameter()] = "auto",
    settings: Learning = LEARNING,
    report: Report = REPORT,
) -> None:
    """Fine-tune a model on the crops that are annotated; run again, it goes on where it stopped.

    The last layers learn first, then all, deeper ones slower; the norms' statistics are those of the new
    volume. Painted labels and skeletons both count. How long it will take is said before it starts.

    Parameters
    ----------
    model
        Name of a shipped model or path of a model folder.
    annotations
        Folder that `adapt select` wrote, with some crops annotated.
    output
        Folder of the run; the adapted model is in its folder `model`.
    validation
        Another such folder, whose painted crops the result is scored on; beside the held-out ones.
    label_free
        Use no labels: only measure the norms' statistics anew, on all crops of the folder.
    device
        auto, cpu or cuda.
    """
    from connectomics.errors import SettingsError
    from connectomics.pipeline.adapt import finetune as run

    if device not in ("auto", "cpu", "cuda"):
        raise SettingsError(f"--device: must be auto, cpu or cuda, got '{device}'.")
    with session(report):
        result = run(
            model,
            annotations,
            local_path(output, "--output"),
            settings,
            validation=validation,
            label_free=label_free,
            device=device,
        )
    deliver(result, report, "adapt finetune", below=_gain(result))


def _gain(result: Mapping[str, Any]) -> list[str]:
    before, after = (result.get(key, {}).get("validation_voi_sum") for key in ("scores_before", "scores"))
    if before is None or after is None:
        return []
    return [f"VOI of the crops held out: {before:.3f} before, {after:.3f} after (0 is perfect)"]


@adapt.command
def plan(
    *runs: Path, picture: Path | None = None, settings: Planning = PLANNING, report: Report = REPORT
) -> None:
    """Say what more annotated cubes would buy, with an interval, and when to annotate no more.

    Parameters
    ----------
    runs
        Folders of `adapt finetune` runs on 1, 2, 4, ... cubes (its option --crops), scored on the same crops.
    picture
        Draw the scores, the fitted curve and its interval to this file (.png, .svg, .pdf).
    """
    from connectomics.errors import InputError
    from connectomics.pipeline.adapt import plan as make_plan

    if not runs:
        raise InputError("adapt plan: name the folders of two or more runs of 'adapt finetune'.")
    with session(report):
        result = make_plan(runs, settings, picture)
    lines = [
        f"{row['cubes']} cubes: VOI {row['voi']:.3f} ({row['voi_low']:.3f} to {row['voi_high']:.3f})"
        for row in result["predictions"]
    ]
    deliver(result, report, "adapt plan", shown={"advice": result["advice"]}, below=lines)
