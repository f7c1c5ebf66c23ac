"""Two people's logs become one; where they contradict each other, the conflicts are named."""

from collections.abc import Sequence
from dataclasses import dataclass

from connectomics.proofreading.edits import Edit, Line
from connectomics.proofreading.mapping import SegmentMap
from connectomics.roi import Triple


@dataclass(frozen=True)
class Conflict:
    """Two edits of two logs that cannot both hold.

    Attributes
    ----------
    what : str
        For people: who wants what, and who something else.
    place : tuple of float
        nm, zyx.
    edits : tuple of str
        Ids of the edits.
    """

    what: str
    place: Triple
    edits: tuple[str, ...]


def merge_logs(
    a: Sequence[Line], b: Sequence[Line], mapping: SegmentMap
) -> tuple[list[Edit], list[Conflict]]:
    """Edits that hold of both logs, in an order in which both get what they wanted, if there is one.

    Parameters
    ----------
    a, b
        Lines of two logs of one volume.
    mapping
        Of that volume, without edits; left as it was.

    Returns
    -------
    edits, conflicts
        Where there are conflicts, the edits are in the order of time.
    """
    raise NotImplementedError
