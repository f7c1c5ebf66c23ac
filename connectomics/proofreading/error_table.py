"""The table of errors of `score --errors` as candidates: each error at the edge nearest to it."""

import csv
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from connectomics.errors import FormatError, InputError
from connectomics.proofreading.edge_table import Edges, joined
from connectomics.proofreading.output import Output
from connectomics.proofreading.pool import Pool

NEEDED = ("kind", "cost_nm", "z_nm", "y_nm", "x_nm", "segment_1", "segment_2")


class Errors(NamedTuple):
    """Errors that an edit can mend."""

    merged: NDArray[np.bool_]
    """True for a false merge, False for a split."""
    cost: NDArray[np.float64]
    """Run length (nm) that mending it gains."""
    place: NDArray[np.float64]
    """(n, 3) nm, zyx."""
    segments: NDArray[np.int64]
    """(n, 2) the segments there, the smaller first; one of them twice for a false merge."""


def read_errors(path: Path) -> Errors:
    """Read the table; errors on the background, which no edit mends, are left out.

    Raises
    ------
    InputError
        There is no such file.
    FormatError
        It is no such table.
    """
    try:
        with path.open(newline="", encoding="utf-8") as stream:
            rows = list(csv.DictReader(stream))
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}.") from None
    except (UnicodeDecodeError, csv.Error):
        rows = [{}]
    missing = [name for name in NEEDED if rows and rows[0].get(name) is None]
    if missing:
        raise FormatError(
            f"{path}: no table of errors (no {', '.join(missing)}); `score --errors` writes one."
        )
    try:
        numbers = np.array([[float(row[name]) for name in NEEDED[1:5]] for row in rows]).reshape(-1, 4)
        segments = np.array([[int(row[name]) for name in NEEDED[5:]] for row in rows], np.int64).reshape(
            -1, 2
        )
    except (ValueError, TypeError, OverflowError) as error:
        raise FormatError(f"{path}: no table of errors: {error}.") from None
    segments = np.sort(segments, axis=1)
    merged = np.array([row["kind"] == "merge" for row in rows], bool)
    usable = (segments > 0).all(axis=1) & (merged == (segments[:, 0] == segments[:, 1]))
    return Errors(merged[usable], numbers[usable, 0], numbers[usable, 1:], segments[usable])


def pool_of_errors(output: Output, errors: Errors) -> tuple[Pool, NDArray[np.float64]]:
    """A candidate for each error, and what mending it gains.

    Raises
    ------
    FormatError
        The table is of another segmentation: it names segments that are not there.
    """
    lut = output.lut.view(np.int64)
    span = int(lut.max(initial=0)) + 1
    if errors.segments.max(initial=0) >= span:
        raise FormatError(
            f"the table of errors names segment {errors.segments.max()}, but {output.path} has {span - 1}: "
            "it is of another segmentation. Score labels/segmentation of this one."
        )
    keys = errors.segments[:, 0] * span + errors.segments[:, 1]
    found, key_of = _edges_between(output, lut, span, keys)
    rows, ends = np.full(len(keys), -1, np.int64), np.zeros((len(keys), 2), np.int64)
    starts, stops = np.searchsorted(key_of, keys, "left"), np.searchsorted(key_of, keys, "right")
    for number, (first, last) in enumerate(zip(starts.tolist(), stops.tolist(), strict=True)):
        if first < last:
            away = np.linalg.norm(found.position[first:last] - errors.place[number], axis=1)
            nearest = first + int(np.argmin(away))
            rows[number], ends[number] = found.row[nearest], found.ends[nearest]
        else:
            inside = [int(np.flatnonzero(lut == segment)[0]) for segment in errors.segments[number].tolist()]
            ends[number] = sorted(inside)
    sure = np.ones(len(keys), np.float32)
    edges = Edges(rows, ends, sure, sure, errors.place.astype(np.float32))
    same = np.where(errors.merged, 0, 1).astype(np.float32)
    return Pool(edges, errors.merged, errors.segments, same), np.maximum(errors.cost, 1e-9)


def _edges_between(
    output: Output, lut: NDArray[np.int64], span: int, keys: NDArray[np.int64]
) -> tuple[Edges, NDArray[np.int64]]:
    """The edges between (or in) the segments that some errors name, in the order of their keys."""
    found, names = [output.edges.read(0, 0)], [np.zeros(0, np.int64)]
    for piece in output.edges.pieces():
        pair = np.sort(lut[piece.ends], axis=1)
        key = pair[:, 0] * span + pair[:, 1]
        here = np.isin(key, keys)
        found.append(piece.taken(here))
        names.append(key[here])
    edges = joined(found)
    key = np.concatenate(names)
    order = np.argsort(key, kind="stable")
    return edges.taken(order), key[order]
