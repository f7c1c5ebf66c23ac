"""The predictor: a normalised tile through the network, for one block or for a stream of them."""

import logging
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import numpy as np
from numpy.typing import NDArray

from connectomics.errors import ModelError
from connectomics.inference.choice import make_engine
from connectomics.inference.engines import Engine, Form
from connectomics.inference.flips import FlipAverage
from connectomics.inference.memory import MemoryCost, TileRule, choose_tile, fixed_tile, lattice_of
from connectomics.inference.normalisation import Affine, ConstantError, sample_affine
from connectomics.inference.settings import InferenceSettings
from connectomics.inference.stream import Stages, paste, run_stream
from connectomics.inference.tiles import Box, Tile, TileLattice
from connectomics.inference.translation_engine import make_translation_engine
from connectomics.networks.contract import Contract
from connectomics.networks.models import Model
from connectomics.roi import IntTriple, int_triple

logger = logging.getLogger(__name__)

Read = Callable[[Box], NDArray[Any]]
"""Reads a box of voxels: (z, y, x) or (c, z, y, x), any numeric dtype."""


class Predictor:
    """A network over volumes of any size, with memory bounded by its tiles.

    Parameters
    ----------
    engine
        Runs one tile.
    affine
        Normalisation of the raw intensities.
    rule
        Margin, divisor and granule of the tiles.
    settings
        Tile edge and memory.
    cost
        What the engine needs in memory.
    """

    def __init__(
        self, engine: Engine, affine: Affine, rule: TileRule, settings: InferenceSettings, cost: MemoryCost
    ) -> None:
        self.engine = engine
        self.affine = affine
        self.rule = rule
        self.settings = settings
        self.cost = cost
        self.core: IntTriple | None = None
        """Cores that a run was begun with; None: as the settings have it."""

    def over(self, affine: Affine) -> "Predictor":
        """The same network, ready as it is, for a volume of other grey values."""
        return Predictor(self.engine, affine, self.rule, self.settings, self.cost)

    @property
    def channels(self) -> int:
        """Channels that come out."""
        return self.form.channels

    @property
    def form(self) -> Form:
        """What comes out: channels, output voxels per voxel of the volume, type."""
        return self.engine.form

    def lattice(self, shape: Sequence[int]) -> TileLattice:
        """The tiles over a volume of `shape` (zyx voxels); a function of shape and settings alone.

        Blocks that are whole multiples of its `core` compute no tile twice.
        """
        if self.core is not None and self.settings.tile is not None:
            return lattice_of(self.core, shape, self.rule)
        if self.core is not None:
            begun = TileLattice(int_triple(shape, "shape"), self.core, self.rule.margin, self.rule.divisor)
            if self.cost.allows(begun.largest, self.settings.memory):
                return begun
            logger.warning(
                "the run was begun with tiles of %s voxels, for which there is no memory here: with smaller "
                "ones the values near their faces differ a little",
                self.core,
            )
            self.core = None
        if self.settings.tile is None:
            return choose_tile(self.settings.memory, self.cost, shape, self.rule)
        return fixed_tile(self.settings.tile, shape, self.rule)

    def peak_bytes(self, shape: Sequence[int]) -> int:
        """Bytes that predicting a volume of `shape` takes, for blocks no larger than a core."""
        return self.cost.peak(self.lattice(shape).largest)

    def predict_box(
        self,
        read: Read,
        shape: Sequence[int],
        box: Box,
        turn: AbstractContextManager[Any] | None = None,
    ) -> NDArray[Any]:
        """Predict one box of a volume.

        Parameters
        ----------
        read
            Reads a box of the volume.
        shape
            The volume's voxels, zyx.
        box
            Voxel slices inside the volume.
        turn
            Entered for each call of the network: a lock, where several threads share one.

        Returns
        -------
        ndarray
            (c, z, y, x) of the predictor's `form`, for affinities uint8, ``round(255 p)``; the same whatever
            box a voxel is asked for in.

        Raises
        ------
        GeometryError
            The box is empty or reaches outside.
        InputError
            NaN or infinite intensities.
        """
        tiles = list(self.lattice(shape).tiles(box))
        block = self.form.empty(box)
        for tile in tiles:
            source = self._load(read, tile)
            with turn or nullcontext():
                values = self.engine(source)
            paste(block, box, tile, values, self.form.scale)
        return block

    def stream(
        self,
        read: Read,
        shape: Sequence[int],
        boxes: Iterable[Box],
        done: Callable[[int, NDArray[Any]], None],
        failed: Callable[[int, Exception], None],
    ) -> None:
        """Predict many boxes, with reading, the network and writing overlapped.

        Parameters
        ----------
        read
            Reads a box of the volume; called from one thread, ahead of the network and across boxes.
        shape
            The volume's voxels, zyx.
        boxes
            Voxel slices; taken one by one, as they are needed.
        done
            Takes the number of a box and its values, as from `predict_box`; called in order, from one thread.
        failed
            Takes the number of a box and the error of its reading, prediction or `done`; as `done` is called.
        """
        lattice = self.lattice(shape)
        logger.info(
            "tiles: cores of %s voxels, context %s, at most %.1f Mvoxel a call",
            lattice.core,
            lattice.margin,
            lattice.largest / 1e6,
        )
        stages = Stages(lambda tile: self._load(read, tile), self.engine, done, failed)
        run_stream(lattice, self.form, boxes, stages)

    def _load(self, read: Read, tile: Tile) -> NDArray[np.float32]:
        raw = read(tile.source)
        normal = self.affine.apply(raw if raw.ndim == 4 else raw[None])
        return np.ascontiguousarray(tile.prepare(normal)[None])


def predictor_for(
    model: Model,
    settings: InferenceSettings,
    read: Read,
    shape: Sequence[int],
    granule: int = 32,
    samples: int = 1,
) -> Predictor:
    """The predictor of a model for one volume.

    Parameters
    ----------
    model
        The network and its contract.
    settings
        How to run it.
    read, shape
        The volume; sampled once where the model asks for that normalisation.
    granule
        Cores are a multiple of it: the edge of the output's chunks.
    samples
        A translation: passes of the network per tile; see `passes.plan_passes`.

    Raises
    ------
    InputError
        The device or engine is not there, or the volume is constant.
    ModelError
        The weights do not fit the contract.
    """
    contract = model.contract
    affine = affine_for(contract, read, shape)
    _check_heads(contract)
    engine, cost = (
        make_translation_engine(model, settings, samples)
        if contract.translates
        else _affinity_engine(model, settings)
    )
    margin = contract.margin if settings.margin is None else (settings.margin,) * 3
    return Predictor(engine, affine, TileRule(margin, contract.divisor, granule), settings, cost)


def affine_for(contract: Contract, read: Read, shape: Sequence[int]) -> Affine:
    """How a volume's raw values become the network's input; sampled where the contract asks for it."""
    normal = contract.normalisation
    if normal.kind == "sampled":
        try:
            return sample_affine(read, int_triple(shape, "shape"))
        except ConstantError as error:
            logger.warning("%s Grey values are scaled as those that the model was trained on.", error)
    return Affine(normal.mean, normal.std)


def _check_heads(contract: Contract) -> None:
    kept = [head for head in contract.heads if not head.auxiliary]
    if not kept or list(contract.heads[: len(kept)]) != kept:
        raise ModelError(f"model {contract.name}: its auxiliary heads must come last. Save it without them.")


def _affinity_engine(model: Model, settings: InferenceSettings) -> tuple[Engine, MemoryCost]:
    from connectomics.networks.checkpoint import load_network

    contract = model.contract.without_auxiliary()
    engine, cost = make_engine(
        load_network(model), contract.in_channels, contract.out_channels, contract.divisor, settings
    )
    if settings.flips > 1:
        engine = FlipAverage(engine, contract.offsets, settings.flips)
    return engine, cost
