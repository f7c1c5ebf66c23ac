"""What a review reads of a `segment` output: tables, labels, and what tells this output from another.

``lut`` (fragments + 1,) uint64; ``region_graph/edges`` (E, 2) uint64, ``mean``, ``size``, ``p_wrong`` (E,)
float32, ``position`` (E, 3) float32: the middle of the contact in nm, zyx; ``region_graph/voxels``
(fragments + 1,) int64: voxels of each fragment; ``labels/fragments``.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from connectomics.io.place import Place
from connectomics.io.volume import Volume


@dataclass(frozen=True, eq=False)
class Output:
    """A segmentation to review; the tables with a row per edge stay on the disk.

    Attributes
    ----------
    path : Place
        ``OUT.zarr``.
    lut : (fragments + 1,) uint64
    voxels : (fragments + 1,) int64
    edges : int
        How many edges the region graph has.
    levels : list of Volume
        ``labels/fragments``, the finest first.
    affinities : Volume or None
        Where they were kept.
    binding : dict
        What tells these fragments from others: counts, geometry, hash of the tables.
    """

    path: Place
    lut: NDArray[np.uint64]
    voxels: NDArray[np.int64]
    edges: int
    levels: list[Volume]
    affinities: Volume | None
    binding: dict[str, Any]


def open_output(location: str | Place) -> Output:
    """Open what `segment` wrote.

    Raises
    ------
    InputError
        It is no `segment` output, or one of an unfinished run, or of an earlier version; what to do is said.
    """
    raise NotImplementedError
