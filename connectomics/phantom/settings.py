"""The phantom's knobs: seed, voxel size, difficulty and density."""

from typing import Final, Literal

from pydantic import Field

from connectomics.settings import Settings

VERSION: Final = 1
"""Version of the generator; it changes whenever any label of any seed changes."""


class PhantomSettings(Settings):
    """Settings of a phantom; the same settings always give the same infinite tissue."""

    seed: int = Field(default=0, ge=0, le=2**31 - 1)
    """Which tissue (training 0-999, validation 1000-1099, reported 2000-2099)."""

    voxel_size: float = Field(default=33.0, ge=5.0, le=400.0)
    """Edge of a voxel, nm. At density 1 the tissue does not depend on it; below, 32 voxels are a chunk."""

    difficulty: Literal["easy", "medium", "hard"] = "medium"
    """How noisy, streaky, tightly packed and interrupted by nodes of Ranvier the tissue is."""

    density: float = Field(default=1.0, ge=0.0, le=1.0)
    """Share of 32^3-voxel chunks that any axon touches; 1 is packed white matter, less is sparse bundles."""

    version: Literal[1] = VERSION
    """Version of the generator that the tissue was made with."""
