"""Settings of a conversion."""

from typing import Literal

from pydantic import Field

from connectomics.settings import Settings


class ConvertSettings(Settings):
    """How a converted volume is stored."""

    labels: bool | None = None
    """The volume holds labels: coarser levels by the commonest label, not the mean. By default it does where
    its OME-Zarr metadata says so (image-label) or its type is an integer of 32 or 64 bits."""
    levels: int | None = Field(default=None, ge=1)
    """Resolutions in all, the finest included; by default until the volume fits in one chunk."""
    chunk: int = Field(default=64, ge=1)
    """Edge, in voxels, of one compressed piece."""
    shard: int | None = Field(default=None, ge=1)
    """Edge, in voxels, of one file, a multiple of the chunk; by default a file holds one chunk."""
    zarr_format: Literal[2, 3] = 3
    """3 writes OME-Zarr 0.5, 2 writes 0.4 (without shards)."""
