"""Working through a folder of crops to annotate: how far it is, a crop's arrays, saving what was painted."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from connectomics.errors import InputError
from connectomics.io.files import write_json
from connectomics.io.ome_zarr import open_array
from connectomics.io.staging import unwritable
from connectomics.io.volume import Volume
from connectomics.training.annotations import TODO, Crop, read_todo

State = Literal["to do", "begun", "done"]

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
    """

    crop: Crop
    painted: float
    traced: int

    @property
    def state(self) -> State:
        """Done is what the annotator says is done."""
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
    """

    def __init__(self, folder: Path, crop: Crop) -> None:
        self.crop = crop
        self.raw_location = str(folder / crop.raw)
        self.proposal: NDArray[np.unsignedinteger] = _opened(folder, crop.proposal).read()
        self._file = _opened(folder, crop.annotation)
        self.painted: NDArray[np.unsignedinteger] = self._file.read()
        self._saved = self.painted.copy()
        if self.proposal.shape != self.painted.shape:
            raise InputError(
                f"{folder}/{crop.annotation}: {self.painted.shape} voxels, but the proposal has "
                f"{self.proposal.shape}; one of the two was replaced by something else."
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
        """A number that no object has yet."""
        return int(self.painted.max(initial=0)) + 1

    def begin_from_proposal(self) -> None:
        """Take the model's proposal over, to be corrected.

        Raises
        ------
        InputError
            Something is painted already.
        """
        if self.painted.any():
            raise InputError(
                f"{self.crop.name}: something is painted already, and would be lost. Erase it first."
            )
        self.painted[...] = self.proposal

    def save(self) -> bool:
        """Write what was painted; False if there was nothing new.

        Raises
        ------
        InputError
            Another program has changed the file since it was opened: nothing is written.
        NoSpaceError, StorageError
            It cannot be written.
        """
        if not self.changed:
            return False
        if not np.array_equal(self._file.read(), self._saved):
            raise InputError(
                f"{self._file.name}: was changed by another program while it was open here; nothing was "
                "written. Close the crop and open it again to paint on what is there now."
            )
        now = self.painted.copy()
        self._file.write_box(_WHOLE, now)
        self._saved = now
        return True


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
        self.folder = Path(folder).expanduser()
        self.todo = read_todo(self.folder)

    def states(self) -> list[CropState]:
        """How far each crop is, in the order of their worth."""
        return [self._state(crop) for crop in self.todo.crops]

    def _state(self, crop: Crop) -> CropState:
        painted = _opened(self.folder, crop.annotation).read()
        traced = self.folder / crop.skeletons
        files = [one for one in traced.iterdir() if one.suffix.lower() == ".swc"] if traced.is_dir() else []
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
            The crop is no longer in it.
        NoSpaceError, StorageError
            It cannot be written.
        """
        name = self.todo.crops[number].name
        path = self.folder / TODO
        read_todo(self.folder)  # another program may have changed it
        values = json.loads(path.read_text(encoding="utf-8"))
        found = [crop for crop in values["crops"] if crop["name"] == name]
        if not found:
            raise InputError(f"{path}: has no crop '{name}' any more; open the folder again.")
        found[0]["done"] = done
        try:
            write_json(path, values)
        except OSError as error:
            raise unwritable(error, str(path)) or error from error
        self.todo = read_todo(self.folder)


def _opened(folder: Path, name: str) -> Volume:
    container, _, inner = name.partition(".zarr/")
    return open_array(folder / f"{container}.zarr", inner)
