"""SWC: one node a line, ``number type x y z radius parent``, positions and radii in nm of the world frame."""

import itertools
import re
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from connectomics.errors import FormatError, InputError
from connectomics.io.place import Place
from connectomics.io.skeletons import Skeletons, connected_pieces
from connectomics.io.staging import appearing

_UNDEFINED = 0
"""SWC's structure type of a node of unknown kind."""

_NUMBERED = ((0, "number"), (6, "parent"))
"""Columns that hold the numbers of nodes."""

_LIMIT = 2**63


def read_swc_file(path: Path) -> Skeletons:
    """Read one file; every node gets the number in the file's name as id (1 where the name is none).

    Raises
    ------
    FormatError
        A line is no SWC node, a parent is missing, or parents lead in a circle.
    """
    return _read(path, _id_of(path, otherwise=1))


def read_swc_folder(folder: Path) -> Skeletons:
    """Read every ``<id>.swc`` of a folder, in the order of the ids.

    Raises
    ------
    FormatError
        There is no SWC file, one is not named by a number, two by the same, or one cannot be read.
    """
    paths = [path for path in folder.iterdir() if path.suffix.lower() == ".swc"]
    if not paths:
        raise FormatError(f"{folder}: a folder with no .swc files in it. Name a folder of skeletons.")
    numbered = sorted((_id_of(path, otherwise=None), path) for path in paths)
    for (one, first), (other, second) in itertools.pairwise(numbered):
        if one == other:
            raise FormatError(f"{folder}: {first.name} and {second.name} both name skeleton {one}. Keep one.")
    parts = [_read(path, skeleton_id) for skeleton_id, path in numbered]
    starts = np.cumsum([0, *(len(part) for part in parts)])
    return Skeletons(
        nodes=np.concatenate([part.nodes for part in parts]),
        edges=np.concatenate([part.edges + start for part, start in zip(parts, starts, strict=False)]),
        ids=np.concatenate([part.ids for part in parts]),
        radii=np.concatenate([part.radii for part in parts]),
    )


def write_swc_folder(folder: str | Place, skeletons: Skeletons) -> None:
    """Write one ``<id>.swc`` for each skeleton id; the folder appears whole or not at all.

    Nodes keep their order where each comes after its parent, as readers expect; else parents come first.

    Raises
    ------
    OutputExistsError
        The folder is there and not empty.
    InputError
        A skeleton has a cycle, or an edge joins two ids: SWC can hold neither.
    """
    parents, visited = _parents(skeletons)
    order = np.argsort(skeletons.ids, kind="stable")
    ids, starts = np.unique(skeletons.ids[order], return_index=True)
    number = np.empty(len(order), np.int64)
    with appearing(folder) as staged:
        staged.mkdir()
        for skeleton_id, members in zip(ids, np.split(order, starts[1:]), strict=False):
            if (parents[members] > members).any():
                members = members[np.argsort(visited[members])]
            number[members] = np.arange(1, len(members) + 1)
            lines = [_line(skeletons, node, number, parents) for node in members]
            (staged / f"{skeleton_id}.swc").write_text("\n".join(["# x y z radius in nm", *lines, ""]))


def _line(skeletons: Skeletons, node: int, number: NDArray[np.int64], parents: NDArray[np.int64]) -> str:
    z, y, x = (repr(float(v)) for v in skeletons.nodes[node])
    radius = float(skeletons.radii[node])
    parent = number[parents[node]] if parents[node] >= 0 else -1
    return f"{number[node]} {_UNDEFINED} {x} {y} {z} {radius if radius > 0 else 0.0!r} {parent}"


def _parents(skeletons: Skeletons) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Parent of each node where trees hang from their first nodes, -1 for those; when each was visited."""
    neighbours: list[list[int]] = [[] for _ in range(len(skeletons))]
    for a, b in skeletons.edges.tolist():
        if skeletons.ids[a] != skeletons.ids[b]:
            raise InputError(f"skeletons: an edge joins ids {skeletons.ids[a]} and {skeletons.ids[b]}.")
        neighbours[a].append(b)
        neighbours[b].append(a)
    parents, visited, count = np.full(len(skeletons), -2, np.int64), np.zeros(len(skeletons), np.int64), 0
    for root in range(len(skeletons)):
        if parents[root] != -2:
            continue
        parents[root] = -1
        stack = [root]
        while stack:
            node, count = stack.pop(), count + 1
            visited[node] = count
            for other in neighbours[node]:
                if parents[other] == -2:
                    parents[other] = node
                    stack.append(other)
    if np.count_nonzero(parents >= 0) != len(skeletons.edges):
        raise InputError("skeletons: there is a cycle or a double edge, which SWC cannot hold.")
    return parents, visited


def _read(path: Path, skeleton_id: int) -> Skeletons:
    # bytes: comments are in any encoding, and only a line's end ends a line
    lines = path.read_bytes().removeprefix(b"\xef\xbb\xbf").splitlines()
    rows = [line.split()[:7] for line in lines if line.strip() and not line.lstrip().startswith(b"#")]
    try:
        table = np.array([[float(value) for value in row[2:6]] for row in rows], np.float64).reshape(-1, 4)
        names, parents = (_whole([row[column] for row in rows], path, what) for column, what in _NUMBERED)
    except (IndexError, ValueError):
        raise FormatError(
            f"{path}: not a skeleton: expected SWC lines 'number type x y z radius parent', "
            "an XPRESS pickle or an npz."
        ) from None
    if not len(table):
        raise FormatError(f"{path}: an SWC file without nodes.")
    radii = np.where(table[:, 3] > 0, table[:, 3], np.nan)
    try:
        return Skeletons(
            nodes=table[:, [2, 1, 0]],
            edges=_edges(names, parents, path),
            ids=np.full(len(table), skeleton_id, np.int64),
            radii=radii,
        )
    except FormatError:
        raise
    except InputError as error:
        raise FormatError(f"{path}: {error}") from None


def _whole(values: list[bytes], path: Path, what: str) -> NDArray[np.int64]:
    """Numbers of nodes, exactly; files may write them as 7.0."""
    numbers = []
    for value in values:
        try:
            number = int(value)
        except ValueError:
            real = float(value)
            number = int(real) if real.is_integer() else _LIMIT
        if abs(number) >= _LIMIT:
            raise FormatError(
                f"{path}: the {what} of an SWC node should be a whole number below 2^63, "
                f"got {value.decode()}. Correct that line."
            )
        numbers.append(number)
    return np.array(numbers, np.int64)


def _edges(names: NDArray[np.int64], parents: NDArray[np.int64], path: Path) -> NDArray[np.int64]:
    """Pairs (node, parent) of a file's lines, which must make trees."""
    index = {name: i for i, name in enumerate(names.tolist())}
    if len(index) != len(names):
        raise FormatError(f"{path}: two SWC nodes have the same number.")
    unknown = sorted(set(parents[parents >= 0].tolist()) - set(index))
    if unknown:
        raise FormatError(f"{path}: parent {unknown[0]} of an SWC node is not in the file.")
    own = names[(names == parents) & (parents >= 0)].tolist()
    if own:
        raise FormatError(f"{path}: SWC node {own[0]} is its own parent. A root has the parent -1.")
    pairs = [(i, index[parent]) for i, parent in enumerate(parents.tolist()) if parent >= 0]
    edges = np.array(pairs, np.int64).reshape(-1, 2)
    piece = connected_pieces(len(names), edges)
    astray = names[~np.isin(piece, piece[parents < 0])].tolist()
    if astray:
        raise FormatError(
            f"{path}: the parents of SWC node {astray[0]} lead in a circle and to no root. "
            "A root has the parent -1."
        )
    return edges


def _id_of(path: Path, otherwise: int | None) -> int:
    number = int(path.stem) if re.fullmatch(r"-?[0-9]+", path.stem) else _LIMIT  # int() would take 1_7
    if abs(number) < _LIMIT:
        return number
    if otherwise is None:
        raise FormatError(f"{path}: expected SWC files named by number, such as 17.swc.")
    return otherwise
