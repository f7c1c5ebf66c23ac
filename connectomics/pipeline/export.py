"""Write a segmentation with its edits applied, block by block, as an OME-Zarr of its own."""

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from connectomics.blockwise.grid import Block, Grid, chunk_for_block
from connectomics.blockwise.identity import fingerprint
from connectomics.blockwise.output import Run, open_run
from connectomics.blockwise.progress import Progress
from connectomics.blockwise.run import run_blocks
from connectomics.errors import InputError
from connectomics.io.ome_zarr import create_array, open_array
from connectomics.io.place import Place, as_place
from connectomics.io.pyramid import build_pyramid
from connectomics.pipeline.resources import block_for_memory, open_pool, pyramid_levels
from connectomics.pipeline.settings import RunSettings
from connectomics.proofreading.conflicts import merge_all
from connectomics.proofreading.edits import Edit, kind_of, to_json
from connectomics.proofreading.live import LiveSegments
from connectomics.proofreading.log import FOLDER, log_path, read_log
from connectomics.proofreading.mapping import SegmentMap
from connectomics.proofreading.output import Output, open_output
from connectomics.roi import IntTriple

BYTES_PER_VOXEL = 60.0
"""Peak bytes per voxel of a block that one worker writes: ids, indices, segments, what the codec holds."""


def export_segmentation(
    location: str | Place,
    destination: str | Place,
    logs: Sequence[Path] = (),
    *,
    author: str | None = None,
    memory: int,
    run_settings: RunSettings,
    progress: Progress,
) -> dict[str, Any]:
    """Write ``labels/segmentation`` with the edit logs applied to the OME-Zarr `destination`; resumes.

    Parameters
    ----------
    location
        ``OUT.zarr`` that `segment` wrote.
    destination
        OME-Zarr label image to write, on disk or in a bucket.
    logs
        More logs, such as those of other people; the ones in ``OUT.zarr/edits`` count without being named.
    author
        Of those in ``OUT.zarr/edits``, take this author's alone.
    memory
        Bytes for the whole command.
    run_settings
        Threads, blocks.
    progress
        Who watches.

    Returns
    -------
    dict
        Output, shape, levels, `edits` by kind, `logs`, and the number of segments.

    Raises
    ------
    InputError
        No `segment` output; a log that is not of it; logs that contradict each other, with every conflict.
    """
    source, target = open_output(location), as_place(destination)
    if target == source.path or f"{target}/".startswith(f"{source.path}/"):
        raise InputError(f"{target}: is the input, or lies in it. Choose another output.")
    used = logs_of(source, logs, author)
    edits = merged_edits(source, used)
    grid = Grid(source.fragments.shape, _block(source, memory, run_settings))
    identity = {
        "command": "export",
        "input": {"path": str(source.path)} | dict(source.binding),
        "edits": fingerprint({"edits": [to_json(edit) for edit in edits]}),
    }
    with open_run(
        target,
        "export",
        identity,
        ["0"],
        **run_settings.claim,
        create=lambda: _create(target, source, grid.block),
    ) as run:
        if run.complete:
            return dict(run.ledger.noted("complete")) | {"already_complete": True}
        mapping = SegmentMap(source.lut, source.voxels)
        for edit in edits:
            mapping.apply(edit)
        grid = Grid(grid.shape, run.settled_block(grid.block))
        _write(run, grid, LiveSegments(source.fragments, mapping), run_settings, progress)
        report = {"output": str(target), "shape": grid.shape, "levels": _finish(run, grid.shape)}
        report |= _counts(source, mapping, edits, used)
        run.finish(report, ["0"])
    return report


def logs_of(source: Output, more: Sequence[Path], author: str | None) -> list[Path]:
    """The logs that count: those of the output (or one author's of them), and `more`.

    Raises
    ------
    InputError
        The author has no log.
    """
    found: list[Path] = []
    if isinstance(source.path, Path):
        folder = source.path / FOLDER
        found = sorted(folder.glob("*.jsonl")) if author is None else [log_path(folder, author)]
        if author is not None and not found[0].is_file():
            there = ", ".join(sorted(path.stem for path in folder.glob("*.jsonl"))) or "none"
            raise InputError(f"--author {author}: has no edit log in {folder}; there are: {there}.")
    elif author is not None:
        raise InputError(f"--author {author}: {source.path} is in a bucket, without logs; give --log FILE.")
    known = {path.resolve() for path in found}
    return [*found, *(path for path in more if path.resolve() not in known)]


def merged_edits(source: Output, logs: Sequence[Path]) -> list[Edit]:
    """The edits of some logs, in the order in which they apply.

    Raises
    ------
    InputError
        They contradict each other; every conflict is named.
    """
    lines = [read_log(path, source.binding) for path in logs]
    edits, conflicts = merge_all(lines, SegmentMap(source.lut, source.voxels))
    if conflicts:
        listed = "; ".join(f"{n}. {conflict.what}" for n, conflict in enumerate(conflicts[:20], 1))
        more = f"; and {len(conflicts) - 20} more" if len(conflicts) > 20 else ""
        names = ", ".join(str(path) for path in logs)
        raise InputError(
            f"{len(conflicts)} conflicts between the edits of {names}: {listed}{more}. Undo one side of "
            "each in a review, or export one author's edits with --author."
        )
    return edits


def _block(source: Output, memory: int, settings: RunSettings) -> IntTriple:
    return block_for_memory(settings, memory, source.fragments.shape, 0, BYTES_PER_VOXEL)


def _create(target: Place, source: Output, block: IntTriple) -> Any:
    shape = source.fragments.shape
    return create_array(
        target,
        "",
        shape=shape,
        dtype=np.uint64,
        chunks=chunk_for_block(block, shape),
        voxel_size=source.fragments.voxel_size,
        offset=source.fragments.offset,
        kind="label",
        title="segmentation",
    )


def _write(run: Run, grid: Grid, segments: LiveSegments, settings: RunSettings, progress: Progress) -> None:
    volume = open_array(run.path, "")

    def work(block: Block) -> None:
        found = segments.read_box(block.box)
        if found.any():  # an empty block keeps its chunks unwritten
            volume.write_box(block.box, found)

    with open_pool(settings) as pool:
        run_blocks("export", grid, work, run.ledger, pool=pool, progress=progress)


def _finish(run: Run, shape: IntTriple) -> int:
    levels = pyramid_levels(shape)
    return build_pyramid(run.path, "", levels) if levels > 1 else 1


def _counts(
    source: Output, mapping: SegmentMap, edits: Sequence[Edit], logs: Sequence[Path]
) -> Mapping[str, Any]:
    kinds = Counter(kind_of(edit) for edit in edits)
    before, after = (len(np.unique(table)) - 1 for table in (source.lut, mapping.table()))
    return {
        "logs": [str(path) for path in logs],
        "edits": {name: kinds.get(name, 0) for name in ("merge", "split", "delete")},
        "segments_before": before,
        "segments": after,
    }
