"""Settings of a comparison with truth and of an XPRESS score."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from connectomics.settings import Settings

Split = Literal["test", "validation", "training"]
"""The regions that the XPRESS challenge evaluates."""


class CompareSettings(Settings):
    """What is compared, and what is listed of it."""

    mask: str | None = None
    """Volume; only where it is non-zero is compared."""
    worst: int = 0
    """List this many of the objects that lose most."""
    image: bool = False
    """Compare SEGMENTATION as an image with TRUTH; what translate wrote is known without."""
    direct: str | None = None
    """With --real, where SEGMENTATION was made from a translation: the one made from the X-ray itself. Says
    whether the translation helped."""
    real: str | None = None
    """The segmentation made from the real EM, beside --direct."""


class ScoreSettings(Settings):
    """What is scored, and how strictly."""

    split: Split | None = None
    """Score this region of the challenge. Default: --roi-offset and --roi-size, else the whole file."""
    dataset: str | None = None
    """Data set in the file. Default: `submission`, or the only one there is."""
    downsample: Annotated[int, Field(ge=1)] = 1
    """Use every K-th voxel along each axis, as the official scorer's option does."""
    errors: Path | None = None
    """Write every split edge and every merge to this CSV file: place, segments, skeletons, cost."""
    strict: bool = False
    """Exit 2 where the official check or scorer would fail, instead of the figures after the repair."""
