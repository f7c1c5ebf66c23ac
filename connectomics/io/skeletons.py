"""Skeletons: nodes and edges in space, read from SWC, the XPRESS pickle or npz, told by content."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from connectomics.errors import ConnectomicsError, InputError
from connectomics.io.place import Place, RemotePath, as_place
from connectomics.roi import Roi

log = logging.getLogger(__name__)

SHORT = 0.02
"""Voxels: who traces at a volume's resolution sets no nodes this close, but 0.1 um read as nm is."""


@dataclass(frozen=True, eq=False)
class Skeletons:
    """Many skeletons in one graph; the order of the nodes is the file's (the XPRESS score depends on it).

    Attributes
    ----------
    nodes : (n, 3) float64
        World positions, nm, zyx.
    edges : (m, 2) int64
        Pairs of node indices.
    ids : (n,) int64
        Skeleton of each node, as the file numbers them.
    radii : (n,) float64
        nm, NaN where unknown.
    """

    nodes: NDArray[np.float64]
    edges: NDArray[np.int64]
    ids: NDArray[np.int64]
    radii: NDArray[np.float64]

    def __post_init__(self) -> None:
        set_field = object.__setattr__
        set_field(self, "nodes", np.asarray(self.nodes, np.float64).reshape(-1, 3))
        set_field(self, "edges", np.asarray(self.edges, np.int64).reshape(-1, 2))
        set_field(self, "ids", np.asarray(self.ids, np.int64).reshape(-1))
        set_field(self, "radii", np.asarray(self.radii, np.float64).reshape(-1))
        count = len(self.nodes)
        if len(self.ids) != count or len(self.radii) != count:
            raise InputError(
                f"skeletons: expected an id and a radius for each of {count} nodes, "
                f"got {len(self.ids)} ids and {len(self.radii)} radii."
            )
        if not np.isfinite(self.nodes).all():
            raise InputError("skeletons: node positions must be finite numbers.")
        if len(self.edges) and not (self.edges.min() >= 0 and self.edges.max() < count):
            raise InputError(
                f"skeletons: edges must join nodes 0..{count - 1}, "
                f"got {self.edges.min()}..{self.edges.max()}."
            )

    def __len__(self) -> int:
        """Number of nodes."""
        return len(self.nodes)

    @property
    def lengths(self) -> NDArray[np.float64]:
        """Length of each edge, nm, (m,)."""
        ends = self.nodes[self.edges]
        return np.linalg.norm(ends[:, 0] - ends[:, 1], axis=1)

    def crop(self, roi: Roi) -> "Skeletons":
        """Keep the nodes inside `roi` (low faces belong to it, high faces do not) and their edges."""
        inside = (self.nodes >= np.asarray(roi.offset)) & (self.nodes < np.asarray(roi.end))
        return self.select(np.all(inside, axis=1))

    def doubt_unit(self, voxel_size: Sequence[float]) -> None:
        """Warn where positions are hardly in nm: most nodes are next to each other in hardly a voxel."""
        lengths = self.lengths[self.lengths > 0]
        if len(lengths) and np.median(lengths) < SHORT * min(voxel_size):
            log.warning(
                "skeletons: most edges are shorter than %.3g nm, voxels are %s nm: are the positions in "
                "micrometres? They must be in nm (SWC: x y z in nm).",
                float(np.median(lengths)),
                tuple(voxel_size),
            )

    def select(self, keep: NDArray[np.bool_]) -> "Skeletons":
        """Keep the nodes where `keep`, (n,) bool, is set, in their order, and the edges between them."""
        renumbered = np.cumsum(keep) - 1
        edges = self.edges[keep[self.edges].all(axis=1)]
        return Skeletons(self.nodes[keep], renumbered[edges], self.ids[keep], self.radii[keep])


def connected_pieces(count: int, edges: NDArray[np.int64]) -> NDArray[np.int64]:
    """Connected piece of each of `count` nodes, numbered from 0 by first node.

    Every node points to a smaller one of its piece, and the pointers are shortened until they end at the
    first (scipy.sparse does this too, but takes longer to import than a score takes to compute).
    """
    first: NDArray[np.int64] = np.arange(count)
    a, b = np.asarray(edges, np.int64).reshape(-1, 2).T
    while (first[a] != first[b]).any():
        smaller = np.minimum(first[a], first[b])
        np.minimum.at(first, first[a], smaller)
        np.minimum.at(first, first[b], smaller)
        while (first[first] != first).any():
            first = first[first]
    return np.unique(first, return_inverse=True)[1].astype(np.int64)


def read_skeletons(path: str | Place) -> Skeletons:
    """Read skeletons, the format told by content and not by name.

    Parameters
    ----------
    path
        A SWC file (x y z radius in nm), a folder of SWC files (read in numeric order, ``17.swc`` has id 17),
        the XPRESS pickle of a networkx graph (whatever its name ends in), or an npz with the keys of
        `connectomics.io.skeleton_npz`.

    Raises
    ------
    InputError
        No such path.
    FormatError
        What is there is no skeleton, is damaged, or is a pickle of anything else.
    """
    place = as_place(path)
    if isinstance(place, RemotePath):
        return _read_remote(place)
    path = place.expanduser()
    if path.is_dir():
        from connectomics.io.swc import read_swc_folder

        return read_swc_folder(path)
    if not path.is_file():
        raise InputError(f"{path}: no such file or folder of skeletons.")
    with path.open("rb") as stream:
        start = stream.read(4)
    if start.startswith(b"PK\x03\x04"):
        from connectomics.io.skeleton_npz import read_npz

        return read_npz(path)
    if start.startswith(b"\x80"):
        from connectomics.io.xpress_pickle import read_xpress

        return read_xpress(path)
    from connectomics.io.swc import read_swc_file

    return read_swc_file(path)


def _read_remote(place: RemotePath) -> Skeletons:
    from connectomics.io.transfer import fetched

    with fetched(place, ".swc") as copy:
        try:
            return read_skeletons(copy)
        except ConnectomicsError as error:
            raise type(error)(str(error).replace(str(copy), str(place))) from None


def write_swc(folder: str | Place, skeletons: Skeletons) -> None:
    """Write one SWC file a skeleton, ``<id>.swc``, nodes in their order; see `connectomics.io.swc`."""
    from connectomics.io.swc import write_swc_folder

    write_swc_folder(folder, skeletons)
