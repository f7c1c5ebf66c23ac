"""The Run dock: segment, predict or translate what is shown, in a process of its own."""

from typing import Any

from napari.qt.threading import create_worker
from napari.viewer import Viewer
from qtpy.QtWidgets import (
    QCheckBox,
    QComboBox,
    QFormLayout,
    QHBoxLayout,
    QLineEdit,
    QProgressBar,
    QPushButton,
    QSpinBox,
    QVBoxLayout,
    QWidget,
)

from connectomics.errors import ConnectomicsError
from connectomics.io.locate import lies_in
from connectomics.pipeline.layer import Layer
from napari_connectomics import run_controller
from napari_connectomics.run_job import Job, Request, Update
from napari_connectomics.widgets.canvas import Canvas
from napari_connectomics.widgets.ending import Ending
from napari_connectomics.widgets.form import Form, narrow
from napari_connectomics.widgets.texts import DOCK_WIDTH, MessageLine, help_label, scrolled

HELP = (
    "Runs a command on an image and shows the result as its blocks are written. "
    "The window stays free; Cancel stops the run, and running it again goes on where it stopped."
)


class RunDock(QWidget):
    """Form, progress and result of one run at a time."""

    def __init__(self, napari_viewer: Viewer) -> None:
        super().__init__()
        self.canvas = Canvas(napari_viewer)
        self.job: Job | None = None
        self.worker: Any = None
        self.form = Form([])
        self.setMinimumWidth(DOCK_WIDTH)
        self._build()
        self._connect()
        self.refresh_volumes()

    # --- the form ------------------------------------------------------------------------------------------

    def _build(self) -> None:
        self.command, self.volume, self.model = (narrow(QComboBox()) for _ in range(3))
        self.command.addItems(run_controller.COMMANDS)
        self.model.setEditable(True)
        self.out = QLineEdit()
        self.in_view = QCheckBox("only what is in view")
        self.depth = QSpinBox()
        self.depth.setRange(1, 4096)
        self.depth.setValue(64)
        self.depth.setSuffix(" sections deep")
        self.depth.setToolTip("How many sections around the one in view; in 3-D the whole volume is taken.")
        self.run_button, self.cancel_button = QPushButton("Run"), QPushButton("Cancel")
        self.cancel_button.setEnabled(False)
        self.bar = QProgressBar()
        self.message = MessageLine()
        self.shown_command = QLineEdit()
        self.shown_command.setReadOnly(True)
        self.shown_command.setToolTip("The same without the viewer, for a terminal or a cluster.")
        self.form_place = QVBoxLayout()

        column = QVBoxLayout(self)
        column.addWidget(help_label(HELP))
        rows = QFormLayout()
        for name, field in (
            ("command", self.command),
            ("image", self.volume),
            ("model", self.model),
            ("result", self.out),
        ):
            rows.addRow(name, field)
        column.addLayout(rows)
        region = QHBoxLayout()
        region.addWidget(self.in_view)
        region.addWidget(self.depth)
        column.addLayout(region)
        options = QWidget()
        options.setLayout(self.form_place)
        column.addWidget(scrolled(options), stretch=1)
        buttons = QHBoxLayout()
        buttons.addWidget(self.run_button)
        buttons.addWidget(self.cancel_button)
        column.addLayout(buttons)
        column.addWidget(self.bar)
        column.addWidget(self.message)
        column.addWidget(self.shown_command)

    def _connect(self) -> None:
        self.command.currentTextChanged.connect(lambda _: self._command_changed())
        self.volume.currentIndexChanged.connect(lambda _: self._volume_changed())
        self.model.currentTextChanged.connect(lambda _: self._model_changed())
        self.run_button.clicked.connect(self.start)
        self.cancel_button.clicked.connect(self.cancel)
        layers = self.canvas.viewer.layers
        layers.events.inserted.connect(self.refresh_volumes)
        layers.events.removed.connect(self.refresh_volumes)
        self._undone = [
            lambda: layers.events.inserted.disconnect(self.refresh_volumes),
            lambda: layers.events.removed.disconnect(self.refresh_volumes),
        ]
        self.ending = Ending(self, self.end)

    def refresh_volumes(self, _: Any = None) -> None:
        """List the images that can be run on, and keep the one that is chosen."""
        before = self.layer
        images = sorted(self.canvas.opened("image"), key=lambda one: one.role in run_controller.SPREADS)
        self.volume.blockSignals(True)
        self.volume.clear()
        for one in images:
            self.volume.addItem(one.name, one)
            self.volume.setItemData(self.volume.count() - 1, one.location, 3)
        same = next((i for i, one in enumerate(images) if before and one.location == before.location), 0)
        self.volume.setCurrentIndex(same if images else -1)
        self.volume.blockSignals(False)
        if self.layer is None or before is None or self.layer.location != before.location:
            self._volume_changed()

    @property
    def layer(self) -> Layer | None:
        """The image that is chosen."""
        chosen = self.volume.currentData()
        return chosen if isinstance(chosen, Layer) else None

    def _volume_changed(self) -> None:
        self._command_changed()

    def _command_changed(self) -> None:
        command = self.command.currentText()
        self.model.blockSignals(True)
        self.model.clear()
        for row, choice in enumerate(run_controller.choices(command, self.layer)):
            self.model.addItem(choice.name)
            self.model.setItemData(row, choice.about + ("" if choice.fits else " (needs --rescale)"), 3)
        self.model.blockSignals(False)
        if self.layer is not None:
            self.out.setText(run_controller.output_for(command, self.layer))
        self._model_changed()

    def _model_changed(self) -> None:
        command = self.command.currentText()
        defaults = run_controller.model_defaults(command, self.model.currentText())
        given = self.form.given
        self.form_place.removeWidget(self.form)
        self.form.deleteLater()
        self.form = Form(run_controller.knobs(command), defaults)
        self.form.fill({name: value for name, value in given.items() if name in self.form.fields})
        self.form_place.addWidget(self.form)

    # --- the run -------------------------------------------------------------------------------------------

    def request(self) -> Request:
        """What the form asks for."""
        region = None
        if self.in_view.isChecked() and self.layer is not None:
            region = self.canvas.region_in_view(self.layer, self.depth.value())
        return run_controller.request_for(
            self.command.currentText(),
            self.layer,
            self.model.currentText(),
            self.out.text(),
            region,
            self.form.given,
        )

    def start(self) -> None:
        """Run what the form asks for; what is wrong with it is said."""
        if self.job is not None:
            return
        try:
            request = self.request()
        except ConnectomicsError as error:
            self.message.say(str(error), error=True)
            return
        self.shown_command.setText(run_controller.shown_command(request))
        self.job = Job(request.words, request.out)
        self.job.start()
        self._buttons(running=True)
        self.message.say("starting")
        self.worker = create_worker(self.job.watch)
        self.worker.yielded.connect(self.show_update)
        self.worker.errored.connect(self._watch_failed)
        self.worker.start()

    def cancel(self) -> None:
        """Stop the run; what is written stays."""
        if self.job is not None:
            self.message.say("stopping")
            self.job.cancel()

    def show_update(self, update: Update) -> None:
        """Say how the run stands, and show what there is of the result."""
        step = run_controller.current(update)
        if step is not None:
            self.bar.setMaximum(max(1, step.total))
            self.bar.setValue(step.done)
        self.message.say(run_controller.say(update), error=update.code not in (None, 0, 130))
        for layer in update.layers:
            self.canvas.add(layer)
        if update.grown and self.job is not None:
            self._read_again(self.job.out)
        if not update.running:
            self._ended(update)

    def _read_again(self, out: str) -> None:
        for one in self.canvas.viewer.layers:
            known = self.canvas.known(one)
            if known is not None and lies_in(known.location, out):
                for level in known.levels:
                    level.forget()
                one.refresh()

    def _ended(self, update: Update) -> None:
        if self.job is not None and update.code == 0:
            kept = {layer.location: layer for layer in update.layers}
            for one in list(self.canvas.viewer.layers):
                known = self.canvas.known(one)
                inside = known is not None and lies_in(known.location, self.job.out)
                if inside and kept and known.location not in kept:
                    self.canvas.remove(one)  # only the run itself needed it
                elif inside and kept:
                    one.visible = kept[known.location].style.visible
        self.job = None
        self._buttons(running=False)
        if update.code == 0 and self.layer is not None:
            self.out.setText(run_controller.output_for(self.command.currentText(), self.layer))

    def _watch_failed(self, error: Exception) -> None:
        self.message.say(f"the run cannot be watched: {error}", error=True)
        if self.job is not None:
            self.job.kill()
        self.job = None
        self._buttons(running=False)

    def _buttons(self, running: bool) -> None:
        self.run_button.setEnabled(not running)
        self.cancel_button.setEnabled(running)
        self.bar.setVisible(True)

    def end(self) -> None:
        """A run ends with its dock."""
        if self.job is not None:
            self.job.kill()
        for undo in self._undone:
            undo()
        self._undone = []
