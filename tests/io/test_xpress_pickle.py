"""The XPRESS pickle: graphs are read by any protocol, and nothing else is ever run."""

import os
import pickle
import tracemalloc
from collections import OrderedDict

import networkx
import numpy as np
import pytest

from connectomics.errors import FormatError
from connectomics.io.skeletons import read_skeletons


def graph(position=tuple, **attributes):
    drawn = networkx.Graph()
    for node, z in ((30, 3), (10, 1), (20, 2)):  # the order of insertion is the order that counts
        drawn.add_node(node, position=position([7.5, 8.25, float(z)]), **attributes)
    drawn.add_edge(10, 20)
    return drawn


def save(path, item, protocol=4):
    path.write_bytes(item if isinstance(item, bytes) else pickle.dumps(item, protocol=protocol))
    return path


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
@pytest.mark.parametrize(
    "position",
    [
        tuple,
        list,
        np.array,
        lambda values: np.array(values, ">f4"),
        lambda values: [np.float32(v) for v in values],
    ],
)
def test_positions_however_they_are_held(tmp_path, protocol, position):
    drawn = graph(position, skeleton_id=np.int64(4))  # not looked at: the edges say what is one axon
    drawn.nodes, drawn.edges, drawn.adj, drawn.degree  # views that networkx caches and pickles
    found = read_skeletons(save(tmp_path / "a.npz", drawn, protocol))
    assert found.nodes.tolist() == [[3, 8.25, 7.5], [1, 8.25, 7.5], [2, 8.25, 7.5]]
    assert found.edges.tolist() == [[1, 2]]
    assert found.ids.tolist() == [1, 2, 2] and np.isnan(found.radii).all()


def test_pieces_are_numbered_by_first_node(tmp_path):
    assert read_skeletons(save(tmp_path / "a", graph())).ids.tolist() == [1, 2, 2]
    assert len(read_skeletons(save(tmp_path / "b", networkx.Graph()))) == 0


def test_it_equals_networkx_own_reading(tmp_path):
    drawn = networkx.random_labeled_tree(200, seed=1)
    for node in drawn:
        drawn.nodes[node]["position"] = tuple(np.random.default_rng(node).random(3))
    found = read_skeletons(save(tmp_path / "a", drawn))
    order = {node: i for i, node in enumerate(drawn)}
    assert {tuple(sorted(e)) for e in found.edges.tolist()} == {
        tuple(sorted((order[a], order[b]))) for a, b in drawn.edges
    }
    assert (found.nodes[:, ::-1] == [drawn.nodes[n]["position"] for n in drawn]).all()


class Evil:
    def __init__(self, function, *arguments):
        self.call = (function, arguments)

    def __reduce__(self):
        return self.call


@pytest.mark.parametrize("protocol", [2, 4])
@pytest.mark.parametrize("hidden", [False, True])
@pytest.mark.parametrize(
    ("function", "arguments"),
    [(os.system, ("touch {}",)), (open, ("{}", "w")), (eval, ("open('{}', 'w')",)), (getattr, (1, "real"))],
)
def test_a_pickle_that_runs_code_is_refused_before_it_does(tmp_path, protocol, hidden, function, arguments):
    mark = tmp_path / "owned"
    evil = Evil(function, *[a.format(mark) if isinstance(a, str) else a for a in arguments])
    item = graph(attribute=evil) if hidden else evil
    content = pickle.dumps(item, protocol=protocol)
    result = pickle.loads(content)  # the negative control: it would run
    assert mark.exists() or function is getattr, "test invalid"
    if hasattr(result, "close"):
        result.close()
    if hidden:
        for data in result.nodes.values():
            if hasattr(data["attribute"], "close"):
                data["attribute"].close()
    mark.unlink(missing_ok=True)
    with pytest.raises(FormatError, match="refused: the pickle asks for"):
        read_skeletons(save(tmp_path / "a.npz", content))
    assert not mark.exists()


@pytest.mark.parametrize(
    ("item", "message"),
    [
        (networkx.DiGraph(), "refused"),
        (OrderedDict(), "refused"),
        (np.array([print], dtype=object), "refused"),
        (np.datetime64("2020"), "refused"),
        ({"a": 1}, "expected a pickled networkx.Graph, got dict"),
        (graph(lambda values: values[:2]), "three numbers"),
        (graph(str), "three numbers"),
        (b"\x80\x04garbage", "damaged"),
        (pickle.dumps(graph())[:-20], "damaged"),
    ],
)
def test_what_is_no_graph(tmp_path, item, message):
    with pytest.raises(FormatError, match=message):
        read_skeletons(save(tmp_path / "a.npz", item))


def test_a_node_without_a_position(tmp_path):
    drawn = graph()
    drawn.add_node(99)
    with pytest.raises(FormatError, match="position"):
        read_skeletons(save(tmp_path / "a.npz", drawn))


def opcodes(*parts):
    return b"\x80\x04" + b"".join(parts) + b"."


GIGABYTE = (2**30).to_bytes(8, "little")


@pytest.mark.parametrize(
    "content",
    [
        opcodes(b"\x8e", GIGABYTE, b"abc"),  # BINBYTES8
        opcodes(b"\x96", GIGABYTE, b"abc"),  # BYTEARRAY8
        opcodes(b"\x95", GIGABYTE, b"abc"),  # FRAME
        opcodes(b"]r", (2**31).to_bytes(4, "little")),  # LONG_BINPUT: a memo table of 2^31 entries
        opcodes(b"]" * 200_000, b"a" * 199_999),  # lists in lists
        opcodes(b"(" * 200_000),
        opcodes(b"]\x94h\x00a"),  # a list in itself
    ],
    ids=["bytes", "bytearray", "frame", "memo", "deep", "marks", "recursive"],
)
def test_what_claims_much_gets_little(tmp_path, content):
    path = save(tmp_path / "a.npz", content)
    tracemalloc.start()
    try:
        with pytest.raises(FormatError, match=r"damaged|expected a pickled"):
            read_skeletons(path)
        assert tracemalloc.get_traced_memory()[1] < 100_000_000
    finally:
        tracemalloc.stop()


def test_a_pickle_cannot_change_the_classes_that_read_it(tmp_path):
    poison = opcodes(b"cnetworkx.classes.graph\nGraph\n", b"(N}\x8c\x05_node}stb")
    with pytest.raises(FormatError, match="gives state"):
        read_skeletons(save(tmp_path / "a.npz", poison))
    assert len(read_skeletons(save(tmp_path / "b", graph()))) == 3
