"""A training volume as it is held on the device: image, labels, and where its crops come from."""

from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray

from connectomics.errors import InputError

UNLABELLED = -1
"""Label of a voxel that no loss and no score looks at."""

MAX_OBJECTS = 2**24
"""Labels pass through float32 when they are resampled; beyond this they would not be exact."""


@dataclass(frozen=True)
class Source:
    """One volume to draw crops from.

    Attributes
    ----------
    raw : tensor
        (z, y, x) uint8 or float32.
    labels : tensor
        (z, y, x) int32: objects 1..n, 0 = background, -1 = unlabelled.
    proportion : float
        How often crops come from here, relative to the other sources.
    mean, std : float
        Of the raw values: (raw - mean) / std is what the network sees.
    score : tuple of slice
        The part that is scored when validating.
    traces : ndarray of int32, or None
        (z, y, x), for a volume with skeletons, from `draw_traces`.
    number : int
        Place in the list of a run's volumes; kept where one volume is drawn from with several labels.
    """

    raw: torch.Tensor
    labels: torch.Tensor
    proportion: float
    mean: float
    std: float
    score: tuple[slice, ...] = (slice(None),) * 3
    traces: NDArray[np.int32] | None = None
    number: int = 0

    def to(self, device: torch.device) -> "Source":
        """The same source on a device."""
        return replace(self, raw=self.raw.to(device), labels=self.labels.to(device))


def make_source(
    raw: NDArray[np.generic],
    labels: NDArray[np.generic] | None,
    zero_is_unlabelled: bool,
    proportion: float = 1.0,
    score: tuple[slice, ...] = (slice(None),) * 3,
) -> Source:
    """A source from arrays (z, y, x); labels become 1..n, background 0 or -1; -1 everywhere without labels.

    Raises
    ------
    InputError
        The image is constant, or there are no objects or too many.
    """
    image = raw if raw.dtype == np.uint8 else raw.astype(np.float32)
    std = float(image.std(dtype=np.float64))
    if not np.isfinite(std) or std == 0:
        raise InputError("raw: the image is constant or holds NaN; nothing can be learnt from it.")
    return Source(
        torch.from_numpy(np.ascontiguousarray(image)),
        torch.from_numpy(_numbered(labels, raw.shape, zero_is_unlabelled)),
        proportion,
        float(image.mean(dtype=np.float64)),
        std,
        score,
    )


def _numbered(
    labels: NDArray[np.generic] | None, shape: tuple[int, ...], zero_is_unlabelled: bool
) -> NDArray[np.int32]:
    if labels is None:
        return np.full(shape, UNLABELLED, np.int32)
    ids, dense = np.unique(labels, return_inverse=True)
    order = np.cumsum(ids != 0)
    order[ids == 0] = UNLABELLED if zero_is_unlabelled else 0
    if not 0 < order.max(initial=0) < MAX_OBJECTS:
        raise InputError(f"labels: need 1 to {MAX_OBJECTS - 1} objects, got {order.max(initial=0)}.")
    return order[dense].reshape(shape).astype(np.int32)
