"""The knobs of segmentation: how fragments are made, which edges are measured, what is merged."""

from typing import Annotated, Literal

from pydantic import Field

from connectomics.settings import Settings

Linkage = Literal["mean", "median", "percentile90", "percentile95"]
Stride = Annotated[int, Field(ge=1, le=16)]


class SegmentationSettings(Settings):
    """How affinities become segments. Lengths are voxels; affinities run from 0 to 1."""

    fragments: Literal["watershed", "mutex", "components"] = "watershed"
    """How fragments are made: `watershed` on the distance to boundaries, `mutex` watershed on long-range
    affinities (needs long-range offsets), or connected `components` of strong affinities."""
    boundary_threshold: float = Field(0.5, ge=0, lt=1)
    """A voxel is inside a cell where the mean of its nearest-neighbour affinities is above this; for
    `components`, two neighbours are joined where their affinity is above this."""
    max_distance: int = Field(12, ge=1, le=64)
    """Distances to the boundary are clipped here, voxels; sets the halo a block needs. Example: about the
    radius of the typical neurite."""
    smoothing: int = Field(1, ge=0, le=3)
    """Binomial [1 2 1] smoothing passes over the distance map; more give fewer and rounder fragments."""
    jump: float = Field(1.0, ge=0, le=4)
    """A peak of the distance map joins a higher voxel that lies within this many times its own distance to
    the boundary, in a straight line through the inside; 0 keeps every peak apart."""
    grow: int = Field(4, ge=0, le=64)
    """Fragments grow at most this many voxels into the boundary; large fills everything."""
    mutex_strides: tuple[Stride, Stride, Stride] = (3, 3, 3)
    """Mutex watershed: only every so many voxels (z y x) repel over long range."""
    linkage: Linkage = "mean"
    """What the affinity between two segments is, over all pairs of voxels between them: their mean, median,
    or the percentile that 90% or 95% of them do not exceed (a few strong places suffice; for thin necks)."""
    threshold: float = Field(0.5, ge=0, le=1)
    """Segments are merged, the strongest pair first, while their affinity is above this."""
    grey_penalty: float = Field(0.0, ge=0, le=4)
    """Affinity that an edge loses for each standard deviation of the image by which its two fragments differ
    in their mean grey value inside; 0: the image is not looked at. For EM, where cytoplasm differs from cell
    to cell; no use where all objects are equally bright."""
    long_range: bool = False
    """Measure edges with the long-range affinities too, not only between nearest neighbours."""
    min_object: int = Field(0, ge=0)
    """Final objects of fewer voxels become background (0)."""
    outline: float = Field(0.0, ge=0, lt=1)
    """Segments keep only voxels whose nearest-neighbour affinities have a mean above this; what belongs
    together, and how large it is, is decided before, and labels/fragments stay whole. 0: all voxels. For
    axons without myelin."""
