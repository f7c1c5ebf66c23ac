"""Which segment a fragment is of after edits: two lookup tables that a merge changes in no time.

Fragment -> node, where a node is a segment as it was found or a group that was split off; and node ->
segment. A merge rewrites the entries of the nodes of one segment, a split those of the fragments that leave:
neither grows with the volume or with the number of fragments.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from connectomics.errors import FormatError, InputError
from connectomics.proofreading.edits import FIRST_PIECE, Cut, Edit, Merge, Split
from connectomics.proofreading.journal import Journal, Table
from connectomics.proofreading.lookup import positions, signed
from connectomics.proofreading.pieces import LaidCut, unpack


class SegmentMap:
    """The segments after some edits.

    A segment keeps its id as long as it can: of two that are merged the larger one's stays, and what a split
    leaves behind keeps the one it had. What leaves gets the next number that was never used.

    Parameters
    ----------
    lut
        (fragments + 1,) uint64 segment of each fragment as it was found; ``lut[0] = 0``.
    voxels
        (fragments + 1,) voxels of each fragment.

    Attributes
    ----------
    edits : list of Edit
        Those applied, in order.
    fragments : int
        How many there are, pieces not counted.
    """

    def __init__(self, lut: NDArray[np.uint64], voxels: NDArray[np.int64]) -> None:
        self.edits: list[Edit] = []
        self.fragments = len(lut) - 1
        found = lut.view(np.int64)
        last = int(found.max(initial=0))
        self._lut = found  # as it was found; never changed
        self._node = Table(found)
        self._voxels = Table(voxels)
        self._shown = Table(np.arange(last + 1))
        self._owner = Table(np.arange(last + 1))
        self._origin: dict[int, tuple[int, ...]] = {}  # of nodes that were split off
        sizes = np.zeros(last + 1, np.int64)
        np.add.at(sizes, found[1:], voxels[1:])
        sizes[0] = 0
        self._size = Table(sizes)
        self._nodes: dict[int, tuple[int, ...]] = {}  # of segments that are not their own node alone
        self._listed: dict[int, NDArray[np.int64]] = {}  # fragments of nodes that were split off, at first
        self._deleted: set[int] = set()
        self._ids: list[int] = []  # of pieces, in the order of their indices
        self._index: dict[int, int] = {}
        self._cuts: list[LaidCut] = []
        self._by_node: tuple[NDArray[np.int64], NDArray[np.int64]] | None = None
        self._journal = Journal()

    def __getstate__(self) -> dict[str, Any]:
        """What a worker on another machine needs to look segments up; it cannot take edits back."""
        return self.__dict__ | {"_journal": Journal(), "_by_node": None}

    def apply(self, edit: Edit) -> frozenset[int]:
        """Apply an edit; the ids of the segments that changed, appeared or went.

        Raises
        ------
        InputError
            It names fragments that are not there, or makes no sense now: a merge of one segment with itself,
            groups that are not of one segment, a segment that is deleted already.
        """
        self._journal.begin()
        try:
            if isinstance(edit, Merge):
                changed = self._merge(edit)
            elif isinstance(edit, Split):
                changed = self._split(edit)
            else:
                changed = self._delete(edit.fragment)
        except BaseException:
            self._journal.roll_back()
            raise
        self._journal.end(changed)
        self.edits.append(edit)
        return changed

    def undo(self) -> frozenset[int]:
        """Take the last edit back, exactly; the segments that changed."""
        if not self.edits:
            raise InputError("there is no edit to take back.")
        self.edits.pop()
        return self._journal.roll_back()

    def _merge(self, edit: Merge) -> frozenset[int]:
        a, b = (self._own_segment(self._index_of(fragment)) for fragment in (edit.a, edit.b))
        if a == b:
            raise InputError(f"fragments {edit.a} and {edit.b} are of one segment already, {a}.")
        kept, gone = (a, b) if (self.voxels_of(a), -a) > (self.voxels_of(b), -b) else (b, a)
        nodes, moved = self._nodes_of(kept), self._nodes_of(gone)
        for segment in (kept, gone):
            if segment in self._deleted:
                self._journal.discard(self._deleted, segment)
        self._journal.put(self._nodes, kept, nodes + moved)
        self._journal.put(self._nodes, gone, ())
        sizes = self._size.array[[kept, gone]]
        self._journal.fill(self._size, np.array([kept, gone]), np.array([sizes.sum(), 0]))
        self._journal.fill(self._owner, np.array(moved), kept)
        self._journal.fill(self._shown, np.array(nodes + moved), kept)
        return frozenset((a, b))

    def _own_segment(self, index: int) -> int:
        """Segment of a fragment; one that was dropped as too small becomes a segment of its own."""
        node = int(self._node.array[index])
        return int(self._owner.array[node]) if node else self._new_node(np.array([index]))

    def _split(self, edit: Split) -> frozenset[int]:
        for cut in edit.cuts:
            self._cut(cut)
        groups = [np.array([self._index_of(name) for name in group], np.int64) for group in edit.groups]
        leaving = np.concatenate([np.zeros(0, np.int64), *groups])
        kept = self._index_of(edit.kept)
        if not len(groups) or min(map(len, groups)) == 0 or len(np.unique(leaving)) < len(leaving):
            raise InputError("split: every group must name fragments, and each fragment only once.")
        owners = np.unique(self._owner.array[self._node.array[np.append(leaving, kept)]])
        segment = int(owners[0])
        if len(owners) > 1 or segment == 0 or kept in leaving or segment in self._deleted:
            raise InputError(
                f"split: its fragments are not of one segment any more (but of {owners.tolist()}), or that "
                "is deleted, or nothing is left of it."
            )
        return frozenset((segment, *(self._new_node(group) for group in groups)))

    def _new_node(self, indices: NDArray[np.int64]) -> int:
        """Give some fragments a node, and a segment, of their own."""
        old = self._node.array[indices]
        voxels = self._voxels.array[indices]
        node = len(self._owner)
        segment, taken = int(self._owner.array[old[0]]), int(voxels.sum())
        for table, value in ((self._owner, node), (self._shown, node), (self._size, taken)):
            self._journal.grow(table, np.array([value]))
        if segment:
            left = int(self._size.array[segment]) - taken
            self._journal.fill(self._size, np.array([segment]), left)
        self._journal.fill(self._node, indices, node)
        self._journal.put(self._listed, node, np.sort(indices))
        origin = {found for name in np.unique(old).tolist() for found in self._origin.get(name, (name,))}
        self._journal.put(self._origin, node, tuple(sorted(origin)))
        return node

    def _cut(self, cut: Cut) -> None:
        source, labels = self._index_of(cut.fragment), unpack(cut)
        if any(name in self._index for name in cut.pieces):
            raise FormatError(f"split: a piece of fragment {cut.fragment} is there already.")
        first = len(self._node)
        sizes = np.bincount(labels.ravel(), minlength=len(cut.pieces) + 1)[1:]
        if sizes.sum() > self._voxels.array[source]:
            raise FormatError(f"split: the pieces of fragment {cut.fragment} are larger than it is.")
        self._journal.fill(self._voxels, np.array([source]), int(self._voxels.array[source] - sizes.sum()))
        self._journal.grow(self._voxels, sizes)
        self._journal.grow(self._node, np.full(len(sizes), self._node.array[source]))
        index = first + np.arange(-1, len(sizes))
        for name, place in zip(cut.pieces, index[1:].tolist(), strict=True):
            self._journal.put(self._index, name, place)
            self._journal.append(self._ids, name)
        node = int(self._node.array[source])
        listed = self._listed.get(node, np.zeros(0, np.int64))
        self._journal.put(self._listed, node, np.concatenate((listed, index[1:])))
        self._journal.append(self._cuts, LaidCut(cut, source, labels, index))

    def _delete(self, fragment: int) -> frozenset[int]:
        segment = self.segment_of(fragment)
        if segment == 0:
            raise InputError(f"delete: fragment {fragment} is background already.")
        self._journal.add(self._deleted, segment)
        self._journal.fill(self._shown, np.array(self._nodes_of(segment)), 0)
        return frozenset((segment,))

    def segment_of(self, fragment: int) -> int:
        """Current segment of a fragment or piece; 0 where it is none or deleted."""
        return int(self._shown.array[self._node.array[self._index_of(fragment)]])

    def segments_of(self, fragments: NDArray[Any]) -> NDArray[np.uint64]:
        """Current segments of many fragments (no pieces), any shape: a block of labels/fragments."""
        nodes = np.take(self._node.array, signed(fragments))
        return np.take(self._shown.array, nodes).view(np.uint64)

    def table(self) -> NDArray[np.uint64]:
        """Current segment of every fragment, entry 0 that of the background, and then of every piece."""
        return np.take(self._shown.array, self._node.array).view(np.uint64)

    def fragments_of(self, segment: int) -> NDArray[np.int64]:
        """Fragments and pieces of a segment, ascending; none where there is no such segment."""
        if not 0 < segment < len(self._owner) or segment in self._deleted:
            return np.zeros(0, np.int64)
        found = [np.zeros(0, np.int64), *(self._members(node) for node in self._nodes_of(segment))]
        return np.sort(self._names_of(np.concatenate(found)))

    def voxels_of(self, segment: int) -> int:
        """Voxels of a segment."""
        return int(self._size.array[segment]) if 0 < segment < len(self._size) else 0

    def sizes_of(self, segments: NDArray[np.int64]) -> NDArray[np.int64]:
        """Voxels of many segments, any shape."""
        return np.take(self._size.array, segments)

    @property
    def total_voxels(self) -> int:
        """Voxels of all segments together."""
        return int(self._size.array.sum())

    def fragment_voxels(self, fragments: NDArray[np.int64]) -> NDArray[np.int64]:
        """Voxels of fragments or pieces; of a fragment that was cut, what its pieces leave."""
        indices = np.array([self._index_of(int(name)) for name in fragments], np.int64)
        return np.asarray(self._voxels.array[indices])

    def found_segments(self, segment: int) -> NDArray[np.int64]:
        """Segments as they were found that fragments of this one come from."""
        found = {one for node in self._nodes_of(segment) for one in self._origin.get(node, (node,))}
        return np.array(sorted(found), np.int64)

    def merged_by_hand(self, names: NDArray[np.int64]) -> NDArray[np.int64]:
        """Pairs that a merge named and that still hold: (n, 2) positions in ascending `names`."""
        pairs = [(edit.a, edit.b) for edit in self.edits if isinstance(edit, Merge)]
        return positions(names, np.array(pairs, np.int64).reshape(-1, 2))[0]

    def overlay(
        self, fragments: NDArray[np.uint64], corner: Sequence[int], factor: Sequence[int] = (1, 1, 1)
    ) -> NDArray[np.uint64]:
        """Current segments of a box of labels/fragments, pieces of cut fragments included.

        Parameters
        ----------
        fragments
            (z, y, x) fragment ids as stored.
        corner
            The box's first voxel at its level, zyx.
        factor
            Voxels of the finest level in one of this level, zyx.
        """
        return self.segments_of(self._laid(fragments, corner, factor))

    def with_pieces(
        self, fragments: NDArray[np.uint64], corner: Sequence[int], factor: Sequence[int] = (1, 1, 1)
    ) -> NDArray[np.int64]:
        """The same box with the ids of pieces in place of those of the fragments that were cut."""
        return self._names_of(self._laid(fragments, corner, factor))

    @property
    def cuts(self) -> list[Cut]:
        """The cuts that hold, in order."""
        return [laid.cut for laid in self._cuts]

    def _laid(
        self, fragments: NDArray[np.uint64], corner: Sequence[int], factor: Sequence[int]
    ) -> NDArray[np.int64]:
        indices = signed(fragments)
        if self._cuts:
            indices = indices.copy()
            for laid in list(self._cuts):
                laid.lay(indices, corner, factor)
        return indices

    def _index_of(self, name: int) -> int:
        index = self._index.get(name, -1) if name >= FIRST_PIECE else name
        if not 1 <= index < len(self._node) or (name < FIRST_PIECE and name > self.fragments):
            raise InputError(f"fragment {name}: there is none; fragments are 1 to {self.fragments}.")
        return index

    def _names_of(self, indices: NDArray[np.int64]) -> NDArray[np.int64]:
        if not self._ids:
            return indices
        names = np.array(self._ids, np.int64)
        pieces = indices > self.fragments
        return np.where(pieces, names[np.where(pieces, indices - self.fragments - 1, 0)], indices)

    def _nodes_of(self, segment: int) -> tuple[int, ...]:
        return self._nodes.get(segment, (segment,))

    def _members(self, node: int) -> NDArray[np.int64]:
        """Indices of the fragments of a node."""
        if self._by_node is None:
            order = np.argsort(self._lut, kind="stable")
            self._by_node = order, np.searchsorted(self._lut[order], np.arange(len(self._lut) + 1))
        order, starts = self._by_node
        found = self._listed.get(node, np.zeros(0, np.int64))
        if node < len(starts) - 1:
            found = np.concatenate((order[starts[node] : starts[node + 1]], found))
        return found[self._node.array[found] == node]
