"""Scores as JSON: NaN becomes null, NumPy values become plain ones."""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np


def json_ready(value: Any) -> Any:
    """Return `value` with NaN and infinities as None and NumPy scalars and arrays as plain values.

    Examples
    --------
    >>> json_ready({"nerl": float("nan"), "n_truth": np.int64(3), "box": (1, 2)})
    {'nerl': None, 'n_truth': 3, 'box': [1, 2]}
    """
    if isinstance(value, Mapping):
        return {str(key): json_ready(item) for key, item in value.items()}
    if isinstance(value, np.ndarray | np.generic):
        return json_ready(value.tolist())
    if isinstance(value, list | tuple):
        return [json_ready(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
