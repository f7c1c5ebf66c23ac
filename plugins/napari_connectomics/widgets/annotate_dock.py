"""The Annotate dock: the to-do list of `adapt select`; a crop is painted here, and saved as it is painted."""

from pathlib import Path
from typing import Any

from napari.layers import Labels
from napari.viewer import Viewer
from qtpy.QtCore import QTimer
from qtpy.QtWidgets import (
    QApplication,
    QCheckBox,
    QFileDialog,
    QHBoxLayout,
    QListWidget,
    QPushButton,
    QVBoxLayout,
    QWidget,
)

from connectomics.errors import ConnectomicsError
from connectomics.pipeline.volume_layers import volume_layers
from connectomics.proofreading.annotating import AnnotationFolder, OpenCrop
from napari_connectomics.annotate_words import crop_line, progress_line
from napari_connectomics.widgets.canvas import Canvas
from napari_connectomics.widgets.texts import DOCK_WIDTH, MessageLine, help_label

HELP = (
    "Open a folder that 'connectomics adapt select' wrote, and click a crop. Every object gets a number of "
    "its own: begin from the model's proposal and correct it, or from nothing. napari's keys: P paints, "
    "E erases, F fills, M takes a new number. It is saved every few seconds, and when you go on."
)
PAINTED, PROPOSED = "annotation", "proposal"
SAVE_MS = 3000
"""What is painted is looked at, and saved, so often."""


class AnnotateDock(QWidget):
    """Crops to annotate, one after the other."""

    def __init__(self, napari_viewer: Viewer) -> None:
        super().__init__()
        self.canvas = Canvas(napari_viewer)
        self.folder: AnnotationFolder | None = None
        self.crop: OpenCrop | None = None
        self.number = -1
        self.setMinimumWidth(DOCK_WIDTH)
        self._build()
        self._connect()
        self._refresh()

    def _build(self) -> None:
        self.choose = QPushButton("Open a folder ...")
        self.list = QListWidget()
        self.begin = QPushButton("Begin from the proposal")
        self.begin.setToolTip("Copies what the model makes of the crop, to be corrected.")
        self.save_button = QPushButton("Save now")
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
        row.addWidget(self.begin)
        row.addWidget(self.save_button)
        column.addLayout(row)
        column.addWidget(self.done)
        column.addWidget(self.message)

    def _connect(self) -> None:
        self.choose.clicked.connect(self._choose)
        self.list.currentRowChanged.connect(self.go_to)
        self.begin.clicked.connect(self.begin_from_proposal)
        self.save_button.clicked.connect(lambda: self.save(say=True))
        self.done.clicked.connect(self.mark)
        self.timer.timeout.connect(self.save)
        self.timer.start()
        removed = self.canvas.viewer.layers.events.removed
        removed.connect(self._layer_removed)
        quitting = QApplication.instance().aboutToQuit
        quitting.connect(self.save)
        self._undone = [
            lambda: removed.disconnect(self._layer_removed),
            lambda: quitting.disconnect(self.save),
        ]

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
            self._refresh()
        except (ConnectomicsError, OSError) as error:
            self.message.say(str(error), error=True)
            return
        self.go_to(self.folder.first_left())

    def _refresh(self) -> None:
        states = self.folder.states() if self.folder is not None else []
        self.list.blockSignals(True)
        while self.list.count() < len(states):
            self.list.addItem("")
        while self.list.count() > len(states):
            self.list.takeItem(self.list.count() - 1)
        for number, state in enumerate(states):
            self.list.item(number).setText(crop_line(state))
        self.list.setCurrentRow(self.number)
        self.list.blockSignals(False)
        for widget in (self.begin, self.save_button, self.done):
            widget.setEnabled(self.crop is not None)
        self.done.setChecked(self.crop is not None and states[self.number].crop.done)
        self.choose.setToolTip(str(self.folder.folder) if self.folder is not None else "")
        if self.folder is not None:
            self.choose.setText(progress_line(self.folder.folder.name, states))

    # --- a crop --------------------------------------------------------------------------------------------

    def go_to(self, number: int) -> None:
        """Save the crop that is open, and open another."""
        if self.folder is None or number < 0 or (number == self.number and self.crop is not None):
            return
        if not self._put_away():
            self._select(self.number)
            return
        try:
            self.crop = self.folder.open(number)
            layers = volume_layers(self.crop.raw_location, "raw", self.folder.todo.voxel_size)
        except (ConnectomicsError, OSError) as error:
            self.crop, self.number = None, -1
            self._refresh()
            self.message.say(str(error), error=True)
            return
        self.number = number
        self._raw = self.canvas.add(layers[0])
        self._raw.name = self.crop.crop.name
        self._show_labels(self.crop)
        self._refresh()
        self.message.say("")

    def _show_labels(self, crop: OpenCrop) -> None:
        place = crop.place
        proposal = self.canvas.labels(PROPOSED, crop.proposal, place.voxel_size, place.offset)
        proposal.opacity, proposal.editable = 0.25, False
        painted = self.canvas.labels(PAINTED, crop.painted, place.voxel_size, place.offset)
        crop.painted = painted.data  # napari may have made a copy
        painted.opacity, painted.selected_label, painted.mode = 0.6, crop.next_label, "paint"
        self.canvas.viewer.layers.selection.active = painted
        size = [v * n for v, n in zip(place.voxel_size, place.shape, strict=True)]
        self.canvas.look_at([o + s / 2 for o, s in zip(place.offset, size, strict=True)], size)

    def _layers(self) -> list[Any]:
        made = [one for one in self.canvas.viewer.layers if self.canvas.made(one) in (PAINTED, PROPOSED)]
        return [*made, self._raw]

    def _put_away(self) -> bool:
        """Save and take the open crop's layers away; False where it cannot be saved, and all stays."""
        if self.crop is None:
            return True
        if not self.save():
            return False
        self.crop, self.number, layers = None, -1, self._layers()
        self.canvas.remove(*layers)
        return True

    def begin_from_proposal(self) -> None:
        """Take the proposal over."""
        if self.crop is None:
            return
        try:
            self.crop.begin_from_proposal()
        except ConnectomicsError as error:
            self.message.say(str(error), error=True)
            return
        painted = self._painted()
        if painted is not None:
            painted.refresh()
            painted.selected_label = self.crop.next_label
        self.save(say=True)

    def _painted(self) -> Labels | None:
        return next((one for one in self.canvas.viewer.layers if self.canvas.made(one) == PAINTED), None)

    def save(self, say: bool = False) -> bool:
        """Write what was painted since; True where nothing is left unsaved."""
        if self.crop is None:
            return True
        try:
            new = self.crop.save()
        except (ConnectomicsError, OSError) as error:
            self.message.say(str(error), error=True)
            return False
        if new:
            self._refresh()
        if new or say:
            self.message.say(f"{self.crop.crop.name}: saved.")
        return True

    def mark(self, done: bool) -> None:
        """Say whether all of the crop is painted."""
        if self.folder is None or self.crop is None or not self.save():
            return
        try:
            self.folder.mark(self.number, done)
        except (ConnectomicsError, OSError) as error:
            self.message.say(str(error), error=True)
        self._refresh()

    # --- the end -------------------------------------------------------------------------------------------

    def _layer_removed(self, event: Any) -> None:
        """A person took the annotation out of the list of layers: save it, and close the crop."""
        if self.crop is None or self.canvas.made(event.value) != PAINTED or not self.save():
            return
        self.crop, self.number, layers = None, -1, self._layers()
        self.canvas.remove(*layers)
        self._refresh()

    def _select(self, row: int) -> None:
        self.list.blockSignals(True)
        self.list.setCurrentRow(row)
        self.list.blockSignals(False)

    def closeEvent(self, event: Any) -> None:
        """Save, and listen no more."""
        self.save()
        self.timer.stop()
        for undo in self._undone:
            undo()
        self._undone = []
        super().closeEvent(event)
