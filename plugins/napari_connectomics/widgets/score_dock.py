"""The Score dock: scores of what is shown, before and after the edits, and its errors as points."""

from typing import Any

from napari.qt.threading import create_worker
from napari.viewer import Viewer
from qtpy.QtCore import Qt, QTimer
from qtpy.QtWidgets import (
    QAbstractItemView,
    QCheckBox,
    QComboBox,
    QFormLayout,
    QHeaderView,
    QListWidget,
    QPushButton,
    QTableWidget,
    QTableWidgetItem,
    QVBoxLayout,
    QWidget,
)

from connectomics.errors import ConnectomicsError
from connectomics.pipeline.error_list import ErrorList
from connectomics.pipeline.layer import Layer
from connectomics.pipeline.shown import Comparison
from napari_connectomics import score_controller, sessions
from napari_connectomics.layer_data import ERROR_COLOURS
from napari_connectomics.score_controller import BlocksDone
from napari_connectomics.widgets.canvas import Canvas
from napari_connectomics.widgets.ending import Ending
from napari_connectomics.widgets.form import narrow
from napari_connectomics.widgets.texts import DOCK_WIDTH, MessageLine, help_label

HELP = (
    "Compares the segmentation with truth; while a review is open, as it was found and as it is now. "
    "Click an error, in the list or in the view, to go there."
)
ERRORS = "errors found"
AROUND_NM = 3000.0
"""Extent of what is in view around an error."""


class ScoreDock(QWidget):
    """Scores of one segmentation."""

    def __init__(self, napari_viewer: Viewer) -> None:
        super().__init__()
        self.canvas = Canvas(napari_viewer)
        self.errors: ErrorList | None = None
        self.worker: Any = None
        self.progress = BlocksDone()
        self.setMinimumWidth(DOCK_WIDTH)
        self._build()
        self._connect()
        self.refresh_layers()

    def _build(self) -> None:
        self.segmentation, self.truth = narrow(QComboBox()), narrow(QComboBox())
        self.truth.setEditable(True)
        self.truth.setToolTip("Shown labels or skeletons, or type the place of a file.")
        self.xpress = QCheckBox("as the XPRESS challenge scores it")
        self.in_view = QCheckBox("only the volume in view")
        self.in_view.setToolTip("Of a large volume: what is in view, 64 sections deep.")
        self.button = QPushButton("Score")
        self.message = MessageLine()
        self.table = QTableWidget(0, 3)
        self.table.setHorizontalHeaderLabels(["score", "before", "after"])
        self.table.verticalHeader().setVisible(False)
        self.table.setEditTriggers(QAbstractItemView.EditTrigger.NoEditTriggers)
        self.table.horizontalHeader().setSectionResizeMode(0, QHeaderView.ResizeMode.Stretch)
        for column in (1, 2):
            self.table.horizontalHeader().setSectionResizeMode(
                column, QHeaderView.ResizeMode.ResizeToContents
            )
        self.list = QListWidget()
        self.timer = QTimer(self)
        self.timer.setInterval(300)

        column = QVBoxLayout(self)
        column.addWidget(help_label(HELP))
        rows = QFormLayout()
        rows.addRow("segmentation", self.segmentation)
        rows.addRow("truth", self.truth)
        column.addLayout(rows)
        for widget in (self.xpress, self.in_view, self.button, self.message):
            column.addWidget(widget)
        column.addWidget(self.table, stretch=2)
        column.addWidget(self.list, stretch=2)

    def _connect(self) -> None:
        self.button.clicked.connect(self.start)
        self.list.currentRowChanged.connect(self.go_to)
        self.timer.timeout.connect(self._say_progress)
        events = self.canvas.viewer.layers.events
        events.inserted.connect(self.refresh_layers)
        events.removed.connect(self.refresh_layers)
        self._undone = [
            sessions.listen(self._sessions_changed),
            lambda: events.inserted.disconnect(self.refresh_layers),
            lambda: events.removed.disconnect(self.refresh_layers),
        ]
        self.ending = Ending(self, self.end)

    def refresh_layers(self, _: Any = None) -> None:
        """List what can be scored, and against what."""
        labels = self.canvas.opened("labels")
        _fill(self.segmentation, [one for one in labels if one.role != "labels/truth"])
        truths = [one for one in labels if one.role == "labels/truth"] + self.canvas.opened("skeletons")
        others = [one for one in labels if one.role != "labels/truth"]
        _fill(self.truth, truths + others)

    def _sessions_changed(self) -> None:
        self.message.say("The review has changed what is shown: score it again." if self.errors else "")

    # --- scoring -------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Score, in a thread."""
        layer, truth = self._chosen(self.segmentation), self._chosen(self.truth) or self.truth.currentText()
        roi = None
        try:
            if self.in_view.isChecked() and layer is not None:
                roi = self.canvas.region_in_view(layer, 64)
        except ConnectomicsError as error:
            self.message.say(str(error), error=True)
            return
        self.button.setEnabled(False)
        self.progress = BlocksDone()
        self.timer.start()
        self.message.say("scoring ...")
        self.worker = create_worker(_score, layer, truth, self.xpress.isChecked(), roi, self.progress)
        self.worker.returned.connect(self._scored)
        self.worker.errored.connect(lambda error: self._scored(str(error)))
        self.worker.start()

    def _say_progress(self) -> None:
        if self.progress.total:
            self.message.say(f"scoring: {self.progress.done} of {self.progress.total} blocks")

    def _scored(self, result: Comparison | str) -> None:
        self.timer.stop()
        self.button.setEnabled(True)
        if isinstance(result, str):
            self.message.say(result, error=True)
            return
        self._show_rows(result)
        self._show_errors(result.errors)
        said = f"{len(result.errors)} errors, the costliest first."
        if unseen := score_controller.unseen_edits(self._chosen(self.segmentation)):
            said += f" Edits of {', '.join(unseen)} are not in these: begin the review to score them."
        self.message.say(said)

    def _show_rows(self, result: Comparison) -> None:
        rows = score_controller.rows(result)
        self.table.setRowCount(len(rows))
        for number, row in enumerate(rows):
            for column, text in enumerate((row.name, row.before, row.after)):
                item = QTableWidgetItem(text)
                item.setToolTip(row.key)
                if column:
                    item.setTextAlignment(Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter)
                self.table.setItem(number, column, item)

    def _show_errors(self, errors: ErrorList) -> None:
        self.errors = errors
        self.list.blockSignals(True)
        self.list.clear()
        self.list.addItems(score_controller.error_lines(errors))
        self.list.setCurrentRow(-1)
        self.list.blockSignals(False)
        colours = [ERROR_COLOURS.get(str(kind), "#648fff") for kind in errors.features["kind"]]
        points = self.canvas.points(ERRORS, errors.places, colours, errors.features)
        points.mouse_drag_callbacks.append(self._point_clicked)
        self.canvas.viewer.layers.selection.active = points

    def _point_clicked(self, layer: Any, event: Any) -> None:
        index = layer.get_value(
            event.position,
            view_direction=event.view_direction,
            dims_displayed=event.dims_displayed,
            world=True,
        )
        if index is not None:
            self.list.setCurrentRow(int(index))

    def go_to(self, row: int) -> None:
        """Go to an error of the list."""
        if self.errors is not None and 0 <= row < len(self.errors):
            self.canvas.look_at(self.errors.places[row].tolist(), (AROUND_NM,) * 3)

    @staticmethod
    def _chosen(box: QComboBox) -> Layer | None:
        index = box.currentIndex()
        if index < 0 or box.itemText(index) != box.currentText():
            return None
        found = box.itemData(index)
        return found if isinstance(found, Layer) else None

    def end(self) -> None:
        """Listen no more."""
        self.timer.stop()
        for undo in self._undone:
            undo()
        self._undone = []


def _score(layer: Layer | None, truth: Any, xpress: bool, roi: Any, progress: BlocksDone) -> Comparison | str:
    """In a thread: the comparison, or what is wrong."""
    try:
        return score_controller.score_of(layer, truth, xpress, roi, progress)
    except ConnectomicsError as error:
        return str(error)


def _fill(box: QComboBox, layers: list[Layer]) -> None:
    """List layers, and keep the one that is chosen."""
    before = box.currentText()
    names = [one.name for one in layers]
    box.blockSignals(True)
    box.clear()
    for one in layers:
        box.addItem(one.name, one)
        box.setItemData(box.count() - 1, one.location, 3)
    box.setCurrentIndex(names.index(before) if before in names else (0 if names else -1))
    if before and before not in names and box.isEditable():
        box.setEditText(before)
    box.blockSignals(False)
