"""What a review reads of a `segment` output: tables, labels, and what tells this output from another.

``lut`` (fragments + 1,) uint64; ``region_graph/edges`` (E, 2) uint64, ``mean``, ``size``, ``p_wrong`` (E,)
float32, ``position`` (E, 3) float32: the middle of the contact in nm, zyx; ``region_graph/voxels``
(fragments + 1,) int64: voxels of each fragment (its entry 0 says nothing); ``labels/fragments``.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from connectomics.blockwise.identity import differences
from connectomics.blockwise.ledger import Ledger
from connectomics.errors import FormatError, InputError
from connectomics.io.ome_zarr import is_group
from connectomics.io.opening import open_source, open_volume
from connectomics.io.place import Place, RemotePath, as_place
from connectomics.io.tables import read_table
from connectomics.io.volume import Volume
from connectomics.proofreading.edge_table import EdgeTable
from connectomics.proofreading.log import FOLDER, VolumeChangedError

GRAPH = "region_graph"
FRAGMENTS = "labels/fragments"
TABLES = ("lut", *(f"{GRAPH}/{name}" for name in ("edges", "mean", "p_wrong", "position", "voxels")))


@dataclass(frozen=True, eq=False)
class Output:
    """A segmentation to review; the tables with a row per edge stay on the disk.

    Attributes
    ----------
    path : Place
        ``OUT.zarr``.
    lut : (fragments + 1,) uint64
    voxels : (fragments + 1,) int64
    edges : EdgeTable
        The region graph.
    levels : list of Volume
        ``labels/fragments``, the finest first.
    affinities : Volume or None
        Where they were kept: (c, z, y, x) uint8, nearest neighbours first.
    binding : Mapping
        What tells these fragments from others: counts, geometry, hash of the tables.
    """

    path: Place
    lut: NDArray[np.uint64]
    voxels: NDArray[np.int64]
    edges: EdgeTable
    levels: list[Volume]
    affinities: Volume | None
    binding: Mapping[str, Any]
    _seen: dict[str, Any] = field(default_factory=dict)

    @property
    def fragments(self) -> Volume:
        """``labels/fragments`` at the finest level."""
        return self.levels[0]

    def check_unchanged(self) -> None:
        """Raise VolumeChangedError where the tables on the disk are no longer those that were opened.

        Cheap: the hash is taken anew only where a file carries another date.
        """
        stamp = _stamp(self.path)
        if stamp == self._seen.get("stamp"):
            return
        try:
            found = differences(self.binding, _binding(self.path, self.fragments)[0])
        except FormatError as error:
            found = [str(error)]
        if found:
            raise VolumeChangedError(
                f"{self.path}: the segmentation was replaced while it was open ({'; '.join(found)}). Nothing "
                "was saved, and the log is as it was. Close it and open it again."
            )
        self._seen["stamp"] = stamp


def open_output(location: str | Place) -> Output:
    """Open what `segment` wrote.

    Raises
    ------
    InputError
        It is no `segment` output, or one of an unfinished run, or of an earlier version; what to do is said.
    """
    path = as_place(location)
    missing = [name for name in (*TABLES, FRAGMENTS) if not is_group(path / name)]
    if {"lut", f"{GRAPH}/edges", FRAGMENTS} & set(missing):
        raise InputError(
            f"{path}: is no output of `segment` (it holds no {' nor '.join(missing)}). Name the OUT.zarr "
            "group that `connectomics segment` wrote."
        )
    if missing:
        raise InputError(
            f"{path}: was segmented by an earlier version, which did not write {', '.join(missing)}. Run "
            "`connectomics segment` again with --overwrite."
        )
    ledger = Ledger(path / "ledger" / "segment")
    if ledger.noted("run") is not None and ledger.noted("complete") is None:
        raise InputError(f"{path}: its segmentation is not finished. Run the same `segment` command again.")
    name = f"{path}/{FRAGMENTS}"
    levels = [open_volume(name, level=i) for i in range(open_source(name).levels)]
    stamp = _stamp(path)
    binding, lut = _binding(path, levels[0])
    voxels = np.asarray(read_table(path, f"{GRAPH}/voxels"), np.int64)
    if len(voxels) != len(lut):
        raise FormatError(f"{path}: lut names {len(lut) - 1} fragments, {GRAPH}/voxels {len(voxels) - 1}.")
    kept = is_group(path / "affinities")
    affinities = open_volume(f"{path}/affinities", channels=True) if kept else None
    return Output(path, lut, voxels, EdgeTable(path / GRAPH), levels, affinities, binding, {"stamp": stamp})


def _binding(path: Place, fragments: Volume) -> tuple[dict[str, Any], NDArray[np.uint64]]:
    """What tells an output from another, and its lookup table, which it reads anyway."""
    lut = np.asarray(read_table(path, "lut"), np.uint64)
    edges = EdgeTable(path / GRAPH)
    total = hashlib.sha256(lut.tobytes())
    for first in np.unique(np.linspace(0, max(0, len(edges) - 1), 8).astype(int)).tolist():
        rows = edges.read(first, min(first + 1000, len(edges)))
        total.update(rows.ends.tobytes() + rows.mean.tobytes())
    binding = {
        "fragments": len(lut) - 1,
        "edges": len(edges),
        "shape": list(fragments.shape),
        "voxel_size": list(fragments.voxel_size),
        "offset": list(fragments.offset),
        "tables": total.hexdigest(),
    }
    return binding, lut


def _stamp(path: Place) -> Any:
    """Dates of the files that a new run writes anew; nothing for a bucket, which is asked only once."""
    if not isinstance(path, Path):
        return None
    found = []
    for name in TABLES:
        try:
            status = (path / name / "zarr.json").stat()
            found.append((status.st_ino, status.st_mtime_ns))
        except FileNotFoundError:
            found.append((0, 0))
    return found


def edits_folder(output: Output, log_folder: Path | None = None) -> Path:
    """Where the logs of an output lie.

    Raises
    ------
    InputError
        The output is in a bucket, and no other place is named.
    """
    if log_folder is not None:
        return log_folder
    if isinstance(output.path, RemotePath):
        raise InputError(
            f"{output.path}: edits are saved to a local disk, line by line, and this is in a bucket. Name a "
            "local folder for the log, or copy the output."
        )
    return output.path / FOLDER
