"""Working through a folder of crops to annotate: how far it is, a crop's arrays, saving what was painted."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from connectomics.errors import ConnectomicsError, InputError
from connectomics.io.files import write_json
from connectomics.io.ome_zarr import open_array
from connectomics.io.staging import unwritable
from connectomics.io.volume import Volume
from connectomics.training.annotations import TODO, Crop, read_todo

State = Literal["to do", "begun", "done", "damaged"]

Labelled = NDArray[np.unsignedinteger]

_WHOLE = (slice(None), slice(None), slice(None))


@dataclass(frozen=True)
class CropState:
    """How far a crop is.

    Attributes
    ----------
    crop : Crop
        As the to-do list has it.
    painted : float
        Share of its voxels that have a label.
    traced : int
        SWC files beside it.
    damage : str
        Why its annotation cannot be read, if so.
    """

    crop: Crop
    painted: float
    traced: int
    damage: str = ""

    @property
    def state(self) -> State:
        """Done is what the annotator says is done."""
        if self.damage:
            return "damaged"
        if self.crop.done:
            return "done"
        return "begun" if self.painted or self.traced else "to do"


class OpenCrop:
    """One crop, in memory, while it is painted.

    Parameters
    ----------
    folder
        What `adapt select` wrote.
    crop
        Which of its crops.

    Attributes
    ----------
    proposal : (z, y, x) array
        What the model makes of it.
    painted : (z, y, x) array
        Its annotation, to be changed in place; what is in the file until `save`.

    Raises
    ------
    ConnectomicsError
        An array is missing, damaged, or not what belongs there.
    """

    def __init__(self, folder: Path, crop: Crop) -> None:
        self.crop = crop
        self.folder = folder
        self.raw_location = str(folder / crop.raw)
        self.proposal: Labelled = _opened(folder, crop.proposal).read()
        self._file = _opened(folder, crop.annotation)
        self.painted: Labelled = self._file.read()
        self._saved = self._attempt = self.painted.copy()
        if self.proposal.shape != self.painted.shape or self.painted.dtype.kind != "u":
            raise InputError(
                f"{folder / crop.annotation}: {self.painted.shape} of {self.painted.dtype}, but the proposal "
                f"has {self.proposal.shape}, and labels are unsigned; one was replaced by something else."
            )

    @property
    def place(self) -> Volume:
        """Where the annotation lies in the world."""
        return self._file

    @property
    def changed(self) -> bool:
        """Whether something was painted since it was saved last."""
        return not np.array_equal(self.painted, self._saved)

    @property
    def next_label(self) -> int:
        """A number that no object has yet, as far as there is one."""
        return min(int(self.painted.max(initial=0)) + 1, int(np.iinfo(self.painted.dtype).max))

    def take(self, painted: NDArray[Any]) -> None:
        """Take over what was painted into another array.

        Raises
        ------
        InputError
            It has another shape, or numbers that the file cannot hold.
        """
        if painted is self.painted:
            return
        most = int(np.iinfo(self.painted.dtype).max)
        fits = painted.shape == self.painted.shape and painted.dtype.kind in "iub"
        if not fits or painted.min(initial=0) < 0 or painted.max(initial=0) > most:
            raise InputError(
                f"{self.crop.name}: what is painted is {painted.shape} of {painted.dtype}; it must be "
                f"{self.painted.shape}, whole numbers from 0 to {most}. Undo the change of the layer."
            )
        self.painted = painted.astype(self.painted.dtype)

    def begin_from_proposal(self) -> None:
        """Take the model's proposal over, to be corrected.

        Raises
        ------
        InputError
            Something is painted already, or the proposal has numbers that the annotation cannot hold.
        """
        if self.painted.any():
            raise InputError(
                f"{self.crop.name}: something is painted already, and would be lost. Erase it first."
            )
        if self.proposal.max(initial=0) > np.iinfo(self.painted.dtype).max:
            raise InputError(f"{self.crop.name}: the proposal's numbers are too large for the annotation.")
        self.painted[...] = self.proposal

    def save(self) -> bool:
        """Write what was painted; False if there was nothing new.

        Raises
        ------
        InputError
            Another program has changed the file since it was opened: nothing is written.
        NoSpaceError
            It cannot be written now; it can be tried again.
        """
        if not self.changed:
            return False
        there = self._file.read()
        if not (
            (there == self._saved) | (there == self._attempt)
        ).all():  # a part of what failed may be there
            raise InputError(
                f"{self._file.name}: was changed by another program while it was open here; nothing was "
                "written over it."
            )
        self._attempt = self.painted.copy()
        self._file.write_box(_WHOLE, self._attempt)
        self._saved = self._attempt
        return True

    def keep_apart(self) -> Path:
        """Write what was painted and could not be saved to a file of its own, and give it up here.

        Returns
        -------
        Path
            ``NAME.unsaved-N.npy`` in the folder.

        Raises
        ------
        OSError
            That cannot be written either.
        """
        number, path = 1, self.folder / f"{self.crop.name}.unsaved-1.npy"
        while path.exists():
            number += 1
            path = self.folder / f"{self.crop.name}.unsaved-{number}.npy"
        with path.open("xb") as file:
            np.save(file, self.painted, allow_pickle=False)
        self._saved = self.painted.copy()
        return path


class AnnotationFolder:
    """What `adapt select` wrote, as an annotator works through it.

    Parameters
    ----------
    folder
        Where.

    Raises
    ------
    InputError
        It is no such folder.
    SettingsError
        Its list is damaged.
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder).expanduser().absolute()
        self.todo = read_todo(self.folder)

    def states(self) -> list[CropState]:
        """How far each crop is, in the order of their worth."""
        return [self.state(number) for number in range(len(self.todo.crops))]

    def state(self, number: int) -> CropState:
        """How far a crop is."""
        crop = self.todo.crops[number]
        traced = self.folder / crop.skeletons
        files = [one for one in traced.iterdir() if one.suffix.lower() == ".swc"] if traced.is_dir() else []
        try:
            painted = _opened(self.folder, crop.annotation).read()
        except ConnectomicsError as error:
            return CropState(crop, 0.0, len(files), str(error))
        return CropState(crop, float(np.count_nonzero(painted)) / painted.size, len(files))

    def first_left(self) -> int:
        """The crop to go on with: the first that is not done; the first of all when all are."""
        return next((number for number, crop in enumerate(self.todo.crops) if not crop.done), 0)

    def open(self, number: int) -> OpenCrop:
        """Read a crop's arrays.

        Raises
        ------
        ConnectomicsError
            One of them is missing or damaged.
        """
        return OpenCrop(self.folder, self.todo.crops[number])

    def mark(self, number: int, done: bool) -> None:
        """Say in the to-do list that all of a crop is painted, or that it is not; the rest stays as it is.

        Raises
        ------
        SettingsError
            The list has been damaged.
        InputError
            Its crops are others by now, or it cannot be written.
        """
        path = self.folder / TODO
        now = read_todo(self.folder)  # another program may have changed it
        if [crop.name for crop in now.crops] != [crop.name for crop in self.todo.crops]:
            raise InputError(f"{path}: lists other crops by now; open the folder again.")
        values = json.loads(path.read_text(encoding="utf-8"))
        values["crops"][number]["done"] = done
        try:
            write_json(path, values)
        except OSError as error:
            raise unwritable(error, str(path)) or error from error
        self.todo = read_todo(self.folder)


def _opened(folder: Path, name: str) -> Volume:
    container, _, inner = name.partition(".zarr/")
    return open_array(folder / f"{container}.zarr", inner)
