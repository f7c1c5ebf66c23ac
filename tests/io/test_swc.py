"""SWC: x y z to zyx, file order, and what it cannot hold."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from connectomics.errors import FormatError, InputError, OutputExistsError
from connectomics.io.skeletons import Skeletons, read_skeletons, write_swc


def tree(parents, ids=None, seed=0):
    count = len(parents)
    rng = np.random.default_rng(seed)
    edges = [(i, p) for i, p in enumerate(parents) if p >= 0]
    return Skeletons(
        nodes=rng.normal(size=(count, 3)) * 1e4,
        edges=np.array(edges, np.int64).reshape(-1, 2),
        ids=np.ones(count) if ids is None else ids,
        radii=np.where(rng.random(count) < 0.3, np.nan, rng.random(count) * 300),
    )


def undirected(skeletons):
    return {tuple(sorted(edge)) for edge in skeletons.edges.tolist()}


@given(st.lists(st.integers(-1, 30), min_size=1, max_size=30), st.integers(0, 99))
@settings(deadline=None, max_examples=30)
def test_round_trip_is_exact(tmp_path_factory, parents, seed):
    parents = [min(p, i - 1) for i, p in enumerate(parents)]  # a forest
    drawn = tree(parents, seed=seed)
    folder = tmp_path_factory.mktemp("swc") / "s"
    write_swc(folder, drawn)
    for path in (folder, folder / "1.swc"):
        found = read_skeletons(path)
        assert (found.nodes == drawn.nodes).all() and (found.ids == 1).all()
        assert np.array_equal(found.radii, drawn.radii, equal_nan=True)
        assert undirected(found) == undirected(drawn)


@given(st.permutations(range(12)), st.integers(0, 99))
@settings(deadline=None, max_examples=30)
def test_parents_come_first(tmp_path_factory, order, seed):
    """Whatever the order of the nodes: a branched tree, renumbered."""
    ends = [(order[i], order[(i - 1) // 2]) for i in range(1, 12)]
    drawn = replace(tree([-1] * 12, seed=seed), edges=np.array(ends, np.int64))
    folder = tmp_path_factory.mktemp("swc") / "s"
    write_swc(folder, drawn)
    rows = [line.split() for line in (folder / "1.swc").read_text().splitlines() if line[0] != "#"]
    assert [int(row[0]) for row in rows] == list(range(1, 13))
    assert all(int(row[-1]) < int(row[0]) for row in rows)
    found, where = read_skeletons(folder), {tuple(node): i for i, node in enumerate(drawn.nodes)}
    back = [where[tuple(node)] for node in found.nodes]
    assert {tuple(sorted((back[a], back[b]))) for a, b in found.edges} == undirected(drawn)


def test_columns_and_comments(tmp_path):
    (tmp_path / "17.swc").write_text("# made by hand\n\n 4 2 30 20 10 5.5 9\n9 2 31 21 11 0 -1 trailing\n")
    found = read_skeletons(tmp_path / "17.swc")
    assert found.nodes.tolist() == [[10, 20, 30], [11, 21, 31]]  # file order, z first
    assert found.edges.tolist() == [[0, 1]]  # the parent may come later
    assert found.ids.tolist() == [17, 17]
    assert found.radii[0] == 5.5 and np.isnan(found.radii[1])


def test_a_folder_is_read_in_numeric_order(tmp_path):
    for name in (10, 9, 100):
        (tmp_path / f"{name}.swc").write_text(f"1 0 {name} 0 0 1 -1\n2 0 {name} 1 0 1 1\n")
    (tmp_path / "README.txt").write_text("not a skeleton")
    found = read_skeletons(tmp_path)
    assert found.ids.tolist() == [9, 9, 10, 10, 100, 100]
    assert found.edges.tolist() == [[1, 0], [3, 2], [5, 4]]


def test_ids_that_alternate_are_gathered_by_file(tmp_path):
    drawn = tree([-1, -1, 0, 1], ids=[7, 3, 7, 3])
    write_swc(tmp_path / "s", drawn)
    found = read_skeletons(tmp_path / "s")
    assert found.ids.tolist() == [3, 3, 7, 7]
    assert (found.nodes == drawn.nodes[[1, 3, 0, 2]]).all()


def test_what_swc_cannot_hold_is_refused_and_nothing_is_written(tmp_path):
    ring = Skeletons(np.zeros((3, 3)), [[0, 1], [1, 2], [2, 0]], [1, 1, 1], [1, 1, 1])
    with pytest.raises(InputError, match="cycle"):
        write_swc(tmp_path / "s", ring)
    with pytest.raises(InputError, match="joins ids"):
        write_swc(tmp_path / "s", tree([-1, 0], ids=[1, 2]))
    assert not list(tmp_path.iterdir())
    write_swc(tmp_path / "s", tree([-1, 0]))
    with pytest.raises(OutputExistsError):
        write_swc(tmp_path / "s", tree([-1, 0]))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("1 0 0 0 0 1 7\n", "parent 7"),
        ("1 0 0 0 0 1 -1\n1 0 0 0 0 1 -1\n", "same number"),
        ("1 0 0 0\n", "not a skeleton"),
        ("1 0 0 0 0 \xb5 -1\n", "not a skeleton"),
        ("1 0 0 0 0 1 -1\n\xff\n", "not a skeleton"),
        ("nan 0 0 0 0 1 -1\n", "number of an SWC node .* got nan"),
        ("1.5 0 0 0 0 1 -1\n", "got 1.5"),
        ("9223372036854775808 0 0 0 0 1 -1\n", "got 9223372036854775808"),
        ("1 0 0 0 0 1 inf\n", "parent of an SWC node .* got inf"),
        ("1 0 0 0 nan 1 -1\n", r"1\.swc: .*finite"),
        ("1 0 0 0 0 1 -1\n2 0 0 0 0 1 2\n", "node 2 is its own parent"),
        ("1 0 0 0 0 1 -1\n7 0 0 0 0 1 9\n8 0 0 0 0 1 7\n9 0 0 0 0 1 8\n", "node 7 lead in a circle"),
        ("# only a comment\n", "without nodes"),
    ],
)
def test_damaged_files(tmp_path, text, message):
    (tmp_path / "1.swc").write_text(text, encoding="latin-1")
    with pytest.raises(FormatError, match=message):
        read_skeletons(tmp_path / "1.swc")


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "latin-1"])
def test_comments_in_any_encoding(tmp_path, encoding):
    text = "# Größe in µm\x85\n1 0 3 2 1 5 -1\n  # µ\n2.0 0 3 2 2 5 1.0\r\n"
    (tmp_path / "1.swc").write_bytes(text.encode(encoding))
    found = read_skeletons(tmp_path / "1.swc")
    assert found.nodes.tolist() == [[1, 2, 3], [2, 2, 3]] and found.edges.tolist() == [[1, 0]]


def test_large_node_numbers_are_told_apart(tmp_path):
    first, second = 2**63 - 2, 2**63 - 1
    (tmp_path / "1.swc").write_text(f"{first} 0 0 0 0 1 -1\n{second} 0 0 0 1 1 {first}\n")
    assert read_skeletons(tmp_path / "1.swc").edges.tolist() == [[1, 0]]


def test_folders_that_are_none(tmp_path):
    with pytest.raises(FormatError, match=r"no \.swc files"):
        read_skeletons(tmp_path)
    for name in ("axon.swc", f"{2**63}.swc"):
        (tmp_path / name).write_text("1 0 0 0 0 1 -1\n")
        with pytest.raises(FormatError, match="named by number"):
            read_skeletons(tmp_path)
        (tmp_path / name).unlink()
    for name in ("1.swc", "01.swc", "2.swc"):
        (tmp_path / name).write_text("1 0 0 0 0 1 -1\n")
    with pytest.raises(FormatError, match=r"01.swc and 1.swc both name skeleton 1"):
        read_skeletons(tmp_path)
    (tmp_path / "01.swc").unlink()
    assert read_skeletons(tmp_path).ids.tolist() == [1, 2]


def test_a_number_is_written_in_digits(tmp_path):
    for name in ("1_7.swc", "17.swc"):
        (tmp_path / name).write_text("1 2 0 0 0 1 -1\n")
    with pytest.raises(FormatError, match=r"1_7\.swc: expected SWC files named by number"):
        read_skeletons(tmp_path)
