"""The Annotate dock: the to-do list of `adapt select`; a crop is painted here, and saved as it is painted."""

from pathlib import Path
from typing import Any

from napari.layers import Labels
from napari.layers import Layer as NapariLayer
from napari.viewer import Viewer
from qtpy.QtCore import QTimer
from qtpy.QtWidgets import QCheckBox, QFileDialog, QHBoxLayout, QListWidget, QPushButton, QVBoxLayout, QWidget

from connectomics.errors import ConnectomicsError
from connectomics.pipeline.volume_layers import volume_layers
from connectomics.proofreading.annotating import AnnotationFolder, OpenCrop
from napari_connectomics.annotate_words import crop_line, progress_line
from napari_connectomics.widgets.canvas import Canvas
from napari_connectomics.widgets.ending import Ending
from napari_connectomics.widgets.texts import DOCK_WIDTH, MessageLine, help_label

HELP = (
    "Open a folder that 'connectomics adapt select' wrote, and click a crop. Every object gets a number of "
    "its own: begin from the model's proposal and correct it, or from nothing. napari's keys: P paints, "
    "E erases, F fills, M takes a new number. It is saved every few seconds, and when you go on."
)
PAINTED, PROPOSED = "annotation", "proposal"
SAVE_MS = 3000
"""What is painted is looked at, and saved, so often."""

FAILURES = (ConnectomicsError, OSError)


class AnnotateDock(QWidget):
    """Crops to annotate, one after the other."""

    def __init__(self, napari_viewer: Viewer) -> None:
        super().__init__()
        self.canvas = Canvas(napari_viewer)
        self.folder: AnnotationFolder | None = None
        self.crop: OpenCrop | None = None
        self.number = -1
        self.layers: list[NapariLayer] = []
        self.setMinimumWidth(DOCK_WIDTH)
        self._build()
        self._connect()
        self._enable()

    def _build(self) -> None:
        self.choose = QPushButton("Open a folder ...")
        self.list = QListWidget()
        self.begin = QPushButton("Begin from the proposal")
        self.begin.setToolTip("Copies what the model makes of the crop, to be corrected.")
        self.save_button = QPushButton("Save now")
        self.again = QPushButton("Read again")
        self.again.setToolTip(
            "Shows what is in the file. What was painted and could not be saved goes to a file beside it."
        )
        self.done = QCheckBox("all of this crop is painted")
        self.done.setToolTip(
            "What has no number is then known to be no object, even where little or nothing is painted."
        )
        self.message = MessageLine()
        self.timer = QTimer(self)
        self.timer.setInterval(SAVE_MS)
        column = QVBoxLayout(self)
        column.addWidget(help_label(HELP))
        column.addWidget(self.choose)
        column.addWidget(self.list, stretch=1)
        row = QHBoxLayout()
        for button in (self.begin, self.save_button, self.again):
            row.addWidget(button)
        column.addLayout(row)
        column.addWidget(self.done)
        column.addWidget(self.message)

    def _connect(self) -> None:
        self.choose.clicked.connect(self._choose)
        self.list.currentRowChanged.connect(self.go_to)
        self.begin.clicked.connect(self.begin_from_proposal)
        self.save_button.clicked.connect(lambda: self.save(say=True))
        self.again.clicked.connect(self.read_again)
        self.done.clicked.connect(self.mark)
        self.timer.timeout.connect(self.save)
        self.timer.start()
        self.canvas.viewer.layers.events.removed.connect(self._layer_removed)
        self.ending = Ending(self, self.end)

    # --- the folder ----------------------------------------------------------------------------------------

    def _choose(self) -> None:
        name = QFileDialog.getExistingDirectory(self, "A folder that 'connectomics adapt select' wrote")
        if name:
            self.open_folder(name)

    def open_folder(self, name: str | Path) -> None:
        """Show the to-do list of a folder, and the first crop that is left."""
        if not self._put_away():
            return
        try:
            self.folder = AnnotationFolder(name)
        except FAILURES as error:
            self.message.say(str(error), error=True)
            return
        self.list.blockSignals(True)
        self.list.clear()
        self.list.addItems([crop_line(state) for state in self.folder.states()])
        self.list.blockSignals(False)
        self.choose.setToolTip(str(self.folder.folder))
        self.go_to(self.folder.first_left())

    def _enable(self) -> None:
        """Say how far the open crop and the folder are."""
        for widget in (self.begin, self.save_button, self.again, self.done):
            widget.setEnabled(self.crop is not None)
        self.list.blockSignals(True)
        self.list.setCurrentRow(self.number)
        if self.folder is not None:
            if self.crop is not None:
                self.list.item(self.number).setText(crop_line(self.folder.state(self.number)))
            self.choose.setText(progress_line(self.folder.folder.name, self.folder.todo))
        self.list.blockSignals(False)
        open_one = self.folder.todo.crops[self.number] if self.folder and self.crop else None
        self.done.setChecked(open_one is not None and open_one.done)

    # --- a crop --------------------------------------------------------------------------------------------

    def go_to(self, number: int) -> None:
        """Save the crop that is open, and open another."""
        if self.folder is None or number < 0 or (number == self.number and self.crop is not None):
            return
        if self._put_away():
            try:
                self._show(self.folder.open(number), number)
                self.message.say("")
            except FAILURES as error:
                self.message.say(str(error), error=True)
        self._enable()

    def _show(self, crop: OpenCrop, number: int) -> None:
        place = crop.place
        raw = self.canvas.add(volume_layers(crop.raw_location, "raw", place.voxel_size)[0])
        proposal = self.canvas.new_labels(PROPOSED, crop.proposal, place.voxel_size, place.offset)
        painted = self.canvas.new_labels(PAINTED, crop.painted, place.voxel_size, place.offset)
        self.crop, self.number, self.layers = crop, number, [raw, proposal, painted]
        raw.name, proposal.opacity, proposal.editable = crop.crop.name, 0.25, False
        painted.opacity, painted.selected_label, painted.mode = 0.6, crop.next_label, "paint"
        self.canvas.viewer.layers.selection.active = painted
        size = [v * n for v, n in zip(place.voxel_size, place.shape, strict=True)]
        self.canvas.look_at([o + s / 2 for o, s in zip(place.offset, size, strict=True)], size)

    def _put_away(self) -> bool:
        """Save and take the open crop's layers away; False where it cannot be saved, and all stays."""
        if not self.save():
            return False
        self.canvas.remove(*self._close())
        return True

    def _close(self) -> list[NapariLayer]:
        """No crop is open any more; the layers that showed it."""
        layers, self.crop, self.number, self.layers = self.layers, None, -1, []
        return layers

    @property
    def painted(self) -> Labels | None:
        """The layer that is painted on."""
        return self.layers[-1] if self.layers else None

    def begin_from_proposal(self) -> None:
        """Take the proposal over."""
        if self.crop is None or self.painted is None:
            return
        try:
            self.crop.take(self.painted.data)
            self.crop.begin_from_proposal()
        except FAILURES as error:
            self.message.say(str(error), error=True)
            return
        self.painted.data = self.crop.painted
        self.painted.selected_label = self.crop.next_label
        self.save(say=True)

    def save(self, say: bool = False) -> bool:
        """Write what was painted since; True where nothing is left unsaved."""
        if self.crop is None or self.painted is None:
            return True
        try:
            self.crop.take(self.painted.data)
            new = self.crop.save()
        except FAILURES as error:
            self.message.say(f"Not saved. {error}", error=True)
            return False
        if new:
            self._enable()
        if new or say:
            self.message.say(f"{self.crop.crop.name}: saved.")
        return True

    def read_again(self) -> None:
        """Show what is in the file; what cannot be saved is kept beside it."""
        if self.folder is None or self.crop is None:
            return
        number, kept = self.number, ""
        if not self.save():
            kept = self._keep()
            if not kept:
                return
        self.canvas.remove(*self._close())
        self.go_to(number)
        if kept:
            self.message.say(kept)

    def mark(self, done: bool) -> None:
        """Say whether all of the crop is painted."""
        if self.folder is not None and self.crop is not None and self.save():
            try:
                self.folder.mark(self.number, done)
            except FAILURES as error:
                self.message.say(str(error), error=True)
        self._enable()

    # --- the end -------------------------------------------------------------------------------------------

    def _layer_removed(self, event: Any) -> None:
        """A person took the annotation out of the list of layers: save it, and close the crop."""
        if self.painted is None or event.value is not self.painted:
            return
        if not self.save():
            self._keep()
        layers = self._close()
        QTimer.singleShot(0, lambda: self.canvas.remove(*layers))  # others may be about to be removed, too
        self._enable()

    def _keep(self) -> str:
        """The last resort, a file beside the crop: where it is, or "" where it cannot be written either."""
        if self.crop is None:
            return ""
        try:
            kept = f"What was painted is in {self.crop.keep_apart()}."
        except OSError as error:
            self.message.say(f"Not saved, and not kept: {error}", error=True)
            return ""
        self.message.say(kept, error=True)
        return kept

    def end(self) -> None:
        """Save, and listen no more."""
        self.timer.stop()
        self.canvas.viewer.layers.events.removed.disconnect(self._layer_removed)
        if not self.save():
            self._keep()
