"""Run a network with OpenVINO on a CPU, in float32 or bfloat16: one graph compiled per tile shape."""

import logging
import warnings
from importlib.util import find_spec
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from connectomics.errors import InputError
from connectomics.inference.engines import Form, Precision
from connectomics.inference.torch_engine import Probabilities
from connectomics.roi import IntTriple

logger = logging.getLogger(__name__)

BYTES_FACTOR: dict[Precision, float] = {"f32": 1.0, "bf16": 0.75}
"""Process peak over `footprint.tensor_bytes_per_voxel`, as measured (scripts/benchmark_inference.py)."""


def openvino_installed() -> bool:
    """True where the openvino package can be imported."""
    return find_spec("openvino") is not None


class OpenVinoEngine:
    """A network compiled by OpenVINO.

    Static shapes are compiled one at a time (about 0.1 s, and the buffers of the last are freed first): a
    graph of dynamic shape ran 144^3 tiles at 0.6 of the speed.

    Parameters
    ----------
    network
        Folded, float32, in eval mode, on the CPU.
    channels
        How many leading channels to keep.
    in_channels
        Channels that the network takes.
    example
        Shape of the tile (zyx voxels) that the network is traced with, multiples of its divisor.
    threads
        CPU threads; None leaves OpenVINO's choice.
    precision
        What the network computes with.
    """

    def __init__(
        self,
        network: nn.Module,
        channels: int,
        in_channels: int,
        example: IntTriple,
        threads: int | None = None,
        precision: Precision = "f32",
    ) -> None:
        if not openvino_installed():
            raise InputError(
                "engine openvino: the openvino package is not installed. "
                "Install it (pip install openvino) or choose --engine torch."
            )
        import openvino

        self.name = f"openvino on cpu, {precision}"
        self.form = Form(channels)
        self._core = openvino.Core()
        self._config: dict[str, Any] = {"INFERENCE_PRECISION_HINT": precision, "PERFORMANCE_HINT": "LATENCY"}
        if threads is not None:
            self._config["INFERENCE_NUM_THREADS"] = threads
        tile = torch.zeros(1, in_channels, *example)
        shape = openvino.PartialShape([1, in_channels, -1, -1, -1])
        with torch.inference_mode(), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch.jit.trace, which OpenVINO uses, is deprecated
            self._model = openvino.convert_model(
                Probabilities(network.eval(), channels), example_input=tile, input=[shape]
            )
        self._shape: tuple[int, ...] = ()
        self._request: Any = None

    def __call__(self, tile: NDArray[np.float32]) -> NDArray[np.uint8]:
        """Probabilities of one tile; see `Engine`."""
        if tile.shape != self._shape:
            self._compile(tile.shape)
        # the outputs are copied: the next call, of another thread perhaps, writes over the request's own
        outputs = self._request.infer([tile], share_inputs=True, share_outputs=False)
        result: NDArray[np.uint8] = outputs[0][0]
        return result

    def _compile(self, shape: tuple[int, ...]) -> None:
        self._request = None
        self._shape = ()
        model = self._model.clone()
        model.reshape(list(shape))
        self._request = self._core.compile_model(model, "CPU", self._config).create_infer_request()
        self._shape = shape
