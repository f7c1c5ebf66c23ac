"""How a trained network learns a new volume: last layers first, deeper ones slower, norms renewed."""

from pydantic import Field

from connectomics.settings import Settings


class FinetuneSettings(Settings):
    """Fine-tuning of the network that the run starts from."""

    head_share: float = Field(default=0.3, ge=0, lt=1)
    """Share of the run in which only the last layers learn (those on the output's grid)."""
    depth_decay: float = Field(default=0.6, gt=0, le=1)
    """Learning rate of each stage further from the output, relative to that of the stage before."""
    statistics: int = Field(default=32, ge=0)
    """Batches of the new volume's crops on which the norms' statistics are measured anew first; 0: kept."""
    source: str = ""
    """Whom the contract names as the model that it was adapted from."""
    annotations: str = ""
    """What the contract says was annotated."""
