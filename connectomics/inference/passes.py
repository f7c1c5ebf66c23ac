"""The passes of a translation over a tile: which network, mirror image and dropout each has."""

from dataclasses import dataclass

from connectomics.errors import InputError
from connectomics.inference.flips import AXES_OF
from connectomics.networks.contract import Contract

IMAGES = ((), (0, 1, 2), (0, 1), (2,), (1, 2), (0,), (0, 2), (1,))
"""Mirrored axes (zyx) of each mirror image, in the order in which passes take them."""

DROPOUT_PASSES = 8
"""Passes of one network with dropout, unless told otherwise."""


@dataclass(frozen=True)
class Pass:
    """One run of one network over a tile.

    Attributes
    ----------
    member : int
        Which network of the ensemble.
    axes : tuple of int
        Axes (zyx) along which it sees the tile mirrored.
    seed : str, optional
        What its dropout masks are drawn from; None: nothing is dropped.
    """

    member: int
    axes: tuple[int, ...] = ()
    seed: str | None = None


def plan_passes(samples: int, members: int, dropout: bool, flips: int = 1) -> list[Pass]:
    """Share passes out among the networks of an ensemble, in turn.

    Up to one pass a network, each sees the tile as it is and drops nothing. With more, every pass of a
    network with dropout draws masks of its own, and sees the `flips` mirror images in turn; without dropout
    the passes of a network differ in the mirror image alone, and all eight are taken where `flips` is 1.

    Raises
    ------
    InputError
        More passes than there are different ones, or too few for the mirror images.
    """
    images = [axes for axes in IMAGES if set(axes) <= set(AXES_OF[flips])]
    if flips > 1 and samples < members * flips:
        raise InputError(
            f"--flips {flips}: {samples} sample(s) of {members} network(s) cannot see so many images. "
            f"Give --samples {members * flips} or more, or --flips 1."
        )
    if samples <= members:
        return [Pass(member) for member in range(samples)]
    if not dropout and flips == 1:
        images = list(IMAGES)
    if not dropout and samples > members * len(images):
        raise InputError(
            f"--samples {samples}: this model has no dropout, and its {members} network(s) see "
            f"{len(images)} mirror images each. Give --samples {members * len(images)} or fewer."
        )
    turns = ((number % members, number // members) for number in range(samples))
    return [
        Pass(member, images[turn % len(images)], f"{member}/{turn}" if dropout else None)
        for member, turn in turns
    ]


def default_samples(contract: Contract, flips: int = 1) -> int:
    """Passes per tile where nobody says: as calibrated, or more where mirror images ask for them."""
    least = contract.members * flips if flips > 1 else 1
    if contract.uncertainty is not None and contract.uncertainty.samples is not None:
        return max(least, contract.uncertainty.samples)
    some = contract.members if contract.members > 1 or not contract.network.dropout else DROPOUT_PASSES
    return max(least, some)


def channel_names(contract: Contract, samples: int) -> tuple[str, ...]:
    """What comes out for so many passes: ``em``, ``aleatoric``, ``epistemic``, or those that there can be.

    No `aleatoric` without a head for it; no `epistemic` of one pass.
    """
    kinds = {head.kind for head in contract.without_auxiliary().heads}
    has = {"em": True, "aleatoric": "log_variance" in kinds, "epistemic": samples > 1}
    return tuple(name for name, there in has.items() if there)
