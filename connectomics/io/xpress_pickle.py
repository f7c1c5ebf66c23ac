"""The XPRESS skeleton file: a bare pickle of one networkx graph, read without running anything in it.

A pickle can name any function and have it called. Here only the names a graph needs are known, and even
those become stand-ins of ours that hold data and do nothing; any other name ends the reading.
"""

import io
import pickle
import struct
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from connectomics.errors import FormatError
from connectomics.io.skeletons import Skeletons, connected_pieces

_VIEWS = {
    "networkx.classes.reportviews": ("NodeView", "EdgeView", "DegreeView"),
    "networkx.classes.coreviews": ("AdjacencyView", "AtlasView"),
}
_CONTAINERS = {"dict": dict, "list": list, "tuple": tuple, "set": set, "frozenset": frozenset}


class _Graph:
    """Holds the attributes of a pickled graph; `_node` and `_adj` are what is read."""


class _View:
    """Takes the place of a cached view of the graph and forgets it."""

    def __setstate__(self, state: object) -> None:
        """Take nothing."""


class _Unpickler(pickle._Unpickler):
    """Knows the names in `_VIEWS`, the graph, containers, and numpy scalars and arrays; refuses the rest.

    The unpickler written in Python, not the one in C: there a few bytes can claim a memo table or an array of
    many gigabytes, and get it.
    """

    read: Callable[[int], bytes]
    stack: list[Any]
    load_build: Callable[[], None]
    dispatch: ClassVar[dict[int, Callable[..., None]]] = dict(pickle._Unpickler.dispatch)

    def _build(self) -> None:
        """Give state to our stand-ins alone: nothing in a file may change a class or a function."""
        if not isinstance(self.stack[-2], _Graph | _View | _Number | _Array):
            raise FormatError("gives state to what is no object of a graph")
        self.load_build()

    def _bytearray(self) -> None:
        """Take as many bytes as there are, whatever length is claimed."""
        (length,) = struct.unpack("<Q", self.read(8))
        self.stack.append(bytearray(self.read(min(length, sys.maxsize))))

    dispatch[pickle.BUILD[0]] = _build
    dispatch[pickle.BYTEARRAY8[0]] = _bytearray

    def find_class(self, module: str, name: str, /) -> Any:
        """Return our stand-in for a name, or refuse it."""
        if (module, name) == ("networkx.classes.graph", "Graph"):
            return _Graph
        if name in _VIEWS.get(module, ()):
            return _View
        if module in ("builtins", "__builtin__") and name in _CONTAINERS:
            return _CONTAINERS[name]
        known = _numpy_names().get((module, name))
        if known is not None:
            return known
        raise FormatError(
            f"asks for '{module}.{name}', which a graph does not need; nothing of it was run. "
            "Only a plain networkx.Graph of numbers is read"
        )


def read_xpress(path: Path) -> Skeletons:
    """Read the graph: node attribute `position` = (x, y, z) nm, nodes in the graph's order.

    Connected pieces are numbered from 1 by first node. A node's `skeleton_id` is not looked at: the
    challenge's scorer ignores it, and it need not agree with the edges.

    Raises
    ------
    FormatError
        The pickle is damaged, names anything that is no part of a graph, or its nodes have no position.
    """
    try:
        graph = _Unpickler(io.BytesIO(path.read_bytes())).load()
    except FormatError as error:
        raise FormatError(f"{path}: refused: the pickle {error}.") from None
    except Exception as error:
        raise FormatError(f"{path}: the pickle is damaged ({type(error).__name__}: {error}).") from None
    state = vars(graph) if isinstance(graph, _Graph) else {}
    nodes, adjacency = state.get("_node"), state.get("_adj")
    if not isinstance(nodes, dict) or not isinstance(adjacency, dict):
        raise FormatError(
            f"{path}: expected a pickled networkx.Graph, got {type(graph).__name__.strip('_')}."
        )
    try:
        return _skeletons(nodes, adjacency)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise FormatError(
            f"{path}: every node needs a 'position' of three numbers ({type(error).__name__}: {error})."
        ) from None


def _skeletons(nodes: Mapping[Any, Any], adjacency: Mapping[Any, Any]) -> Skeletons:
    index = {node: i for i, node in enumerate(nodes)}
    edges = [(i, index[other]) for node, i in index.items() for other in adjacency[node] if index[other] >= i]
    pairs = np.array(edges, np.int64).reshape(-1, 2)
    positions = [[float(v) for v in attributes["position"]] for attributes in nodes.values()]
    if any(len(position) != 3 for position in positions):
        raise ValueError("a position of another length")
    ids = connected_pieces(len(index), pairs) + 1
    radii = [float(attributes.get("radius", np.nan)) for attributes in nodes.values()]
    return Skeletons(np.array(positions).reshape(-1, 3)[:, ::-1], pairs, ids, np.array(radii))


class _Number:
    """Holds the type of numpy numbers, nothing but whole, real or truth values."""

    def __init__(self, text: str, *_flags: object) -> None:
        self.dtype = np.dtype(str(text))
        if self.dtype.kind not in "biuf":
            raise FormatError(f"holds numpy data of type {self.dtype}, which is no number")

    def __setstate__(self, state: Any) -> None:
        """Take the byte order and nothing else."""
        if state[1] in ("<", ">"):
            self.dtype = self.dtype.newbyteorder(state[1])


class _Array:
    """Holds the numbers of a numpy array, in order."""

    def __init__(self) -> None:
        self.values: list[float] = []

    def __setstate__(self, state: Any) -> None:
        """Take the numbers; positions are 1-D, so shape and memory order do not matter."""
        _version, _shape, number, _fortran, data = state
        self.values = _numbers(data, number)

    def __iter__(self) -> Iterator[float]:
        """Go through the numbers."""
        return iter(self.values)


def _numpy_names() -> dict[tuple[str, str], Callable[..., Any]]:
    known: dict[tuple[str, str], Callable[..., Any]] = {
        ("numpy", "dtype"): _Number,
        ("numpy", "ndarray"): _Array,
        ("_codecs", "encode"): _latin1,
    }
    for package in ("numpy.core", "numpy._core"):
        known[f"{package}.multiarray", "scalar"] = _scalar
        known[f"{package}.multiarray", "_reconstruct"] = _empty_array
        known[f"{package}.numeric", "_frombuffer"] = _buffer
    return known


def _numbers(data: bytes | bytearray, number: _Number) -> list[float]:
    return [float(value) for value in np.frombuffer(bytes(data), number.dtype)]


def _scalar(number: _Number, data: bytes) -> float | int:
    value: float | int = np.frombuffer(bytes(data), number.dtype, 1)[0].item()
    return value


def _buffer(data: bytes, number: _Number, *_layout: object) -> _Array:
    array = _Array()
    array.values = _numbers(data, number)
    return array


def _empty_array(*_layout: object) -> _Array:
    return _Array()


def _latin1(text: str, encoding: str) -> bytes:
    if encoding != "latin1":
        raise FormatError(f"asks for the codec '{encoding}'")
    return text.encode("latin1")
