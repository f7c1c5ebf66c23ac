"""Settings that mean the same in every command that works on a volume."""

from typing import Annotated, TypedDict

from pydantic import BeforeValidator, Field

from connectomics.inference.memory import parse_bytes
from connectomics.settings import Settings

Positive = Annotated[int, Field(gt=0)]


class Claim(TypedDict):
    """What a run may do with an output that is there."""

    overwrite: bool
    retry_failed: bool


class RegionSettings(Settings):
    """Which part of the input, and how large its voxels are."""

    voxel_size: tuple[float, float, float] | None = None
    """Voxel size of inputs that carry none, nm (z y x)."""
    roi_offset: tuple[float, float, float] | None = None
    """Low corner of the region to work on, nm (z y x, world frame). Default: the whole volume."""
    roi_size: tuple[float, float, float] | None = None
    """Size of the region to work on, nm (z y x). Default: up to the end of the volume."""


def _bytes(value: object) -> object:
    return parse_bytes(value) if isinstance(value, str) else value


class MemorySettings(Settings):
    """What a command without a network may take."""

    memory: Annotated[int, BeforeValidator(_bytes), Field(gt=0)] = 4_000_000_000
    """Bytes for the whole command, such as 8GB (= 8e9 bytes); blocks are sized to it."""


class PoolSettings(Settings):
    """Who works; none of these changes the result."""

    workers: Positive | None = None
    """Threads for the work after the network. Default: one per core."""
    cluster: str | None = None
    """Run on Dask workers: local:N, tcp://HOST:PORT, or a TOML file that names a queue."""
    patience: Annotated[float, Field(gt=0)] = 600.0
    """Seconds after which a block that a cluster's worker keeps silent about is given to another."""


class RunSettings(PoolSettings):
    """How a run shares out its work; none of these changes the result."""

    block: tuple[Positive, Positive, Positive] | None = None
    """Write block, voxels (z y x), whole chunks. Default: sized to --memory, as tiles always are."""
    overwrite: bool = False
    """Replace what an earlier run of this command wrote to the output."""
    gpu_per_worker: bool = False
    """Give the network to those workers alone that have the Dask resource GPU."""
    retry_failed: bool = False
    """Only go on with a run that has failed blocks: do them again, and then the steps that waited for them;
    blocks of their step that were never begun are left. Exit 2 where none failed. A plain rerun does all."""

    @property
    def claim(self) -> Claim:
        """The arguments of `connectomics.blockwise.output.open_run` that say so."""
        return {"overwrite": self.overwrite, "retry_failed": self.retry_failed}
