"""The segmentation as it is now: fragments read lazily and looked up in the session's mapping when drawn."""

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from connectomics.io.lazy import LazyArray
from connectomics.io.volume import Volume
from connectomics.pipeline.layer import Layer
from connectomics.pipeline.layer_styles import STYLES
from connectomics.proofreading.mapping import SegmentMap
from connectomics.proofreading.session import ReviewSession
from connectomics.roi import IntTriple

NAME = "segmentation"


def live_layer(session: ReviewSession) -> Layer:
    """The session's segmentation; no voxel is repainted by an edit, drawing it again shows it."""
    levels = tuple(_live(volume, session) for volume in session.output.levels)
    location = f"{session.output.path}/labels/{NAME}"
    style = replace(STYLES["labels/segmentation"], visible=True)
    return Layer(NAME, "labels/segmentation", location, style, levels, tuple(session.output.levels))


def _live(fragments: Volume, session: ReviewSession) -> LazyArray:
    finest = session.output.levels[0]
    z, y, x = (round(a / b) for a, b in zip(fragments.voxel_size, finest.voxel_size, strict=True))
    mapping, factor = session.mapping, (z, y, x)
    return LazyArray(fragments, change=_Overlay(mapping, factor), dtype=np.uint64)


class _Overlay:
    """From a box of fragments to current segments."""

    def __init__(self, mapping: SegmentMap, factor: IntTriple) -> None:
        self.mapping, self.factor = mapping, factor

    def __call__(self, fragments: NDArray[np.uint64], corner: IntTriple) -> NDArray[np.uint64]:
        return self.mapping.overlay(fragments, corner, self.factor)
