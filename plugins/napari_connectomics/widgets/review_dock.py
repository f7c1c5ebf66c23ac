"""The Review dock: the queue of doubtful places, and merge, split, delete, undo and redo by key and click."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from napari.qt.threading import create_worker
from napari.viewer import Viewer
from qtpy.QtWidgets import QCheckBox, QComboBox, QFormLayout, QLineEdit, QPushButton, QVBoxLayout, QWidget

from connectomics.errors import ConnectomicsError
from connectomics.proofreading.focus import Focus
from connectomics.proofreading.ranking import Order
from connectomics.proofreading.session import ReviewSession
from connectomics.proofreading.split import Seed
from napari_connectomics import keys, sessions
from napari_connectomics.live_layer import live_layer
from napari_connectomics.review_controller import ReviewController, Status
from napari_connectomics.widgets.canvas import Canvas
from napari_connectomics.widgets.ending import Ending
from napari_connectomics.widgets.form import narrow
from napari_connectomics.widgets.key_buttons import KeyButtons
from napari_connectomics.widgets.review_picture import ReviewPicture
from napari_connectomics.widgets.texts import DOCK_WIDTH, MessageLine, help_label, scrolled

HELP = (
    "Shows the places that are most worth a look, one after the other. Every edit is saved as it is made, "
    "beside the volume; nothing is repainted, so undo goes back without limit."
)
ORDERS: dict[str, Order] = {
    "run length to gain": "run-length",
    "errors of a score": "errors",
    "uncertainty": "uncertainty",
    "largest segments": "largest",
    "random": "random",
}


class ReviewDock(QWidget):
    """One review at a time."""

    def __init__(self, napari_viewer: Viewer) -> None:
        super().__init__()
        self.canvas = Canvas(napari_viewer)
        self.controller: ReviewController | None = None
        self.picture = ReviewPicture(self.canvas)
        self.keys = KeyButtons(self, self.do)
        self.worker: Any = None
        self._undone: list[Callable[[], None]] = []
        self.setMinimumWidth(DOCK_WIDTH)
        self._build()
        self._connect()
        self.refresh_outputs()
        self._enable()

    # --- the form ------------------------------------------------------------------------------------------

    def _build(self) -> None:
        self.output = narrow(QComboBox())
        self.output.setToolTip("An output of segment that is shown.")
        self.order, self.author, self.errors = narrow(QComboBox()), QLineEdit(), QLineEdit()
        self.order.addItems(list(ORDERS))
        self.order.setToolTip("What to look at first; what was decided stays decided.")
        self.author.setPlaceholderText("your name on this machine")
        self.author.setToolTip("Each author has a log of their own; two logs can be merged.")
        self.errors.setPlaceholderText("errors.csv of score --errors")
        self.errors.setVisible(False)
        self.errors.editingFinished.connect(lambda: self._order_changed(""))
        self.begin_button = QPushButton("Begin review")
        self.alone = QCheckBox("show the two sides alone")
        self.alone.setChecked(True)
        self.alone.setToolTip("Hide everything but the image and the two sides; in 3-D, but the two sides.")
        self.question, self.facts, self.progress = MessageLine(), MessageLine(), MessageLine()
        self.question.setObjectName("question")
        self.message, self.saved = MessageLine(), MessageLine()
        self.paint_button = QPushButton("Paint seeds")
        self.paint_button.setToolTip("Paint label 1 on one side and label 2 on the other, then Split now.")

        inner = QWidget()
        column = QVBoxLayout(inner)
        column.addWidget(help_label(HELP))
        rows = QFormLayout()
        for name, field in (("output", self.output), ("rank by", self.order), ("author", self.author)):
            rows.addRow(name, field)
        rows.addRow(self.errors)
        column.addLayout(rows)
        for widget in (self.begin_button, self.question, self.facts, self.message, self.alone):
            column.addWidget(widget)
        column.addWidget(self.keys.group("Queue", keys.QUEUE))
        column.addWidget(self.keys.group("A click does", keys.MODES))
        column.addWidget(self.keys.group("Edits", keys.EDITS, self.paint_button))
        for widget in (self.progress, self.saved):
            column.addWidget(widget)
        column.addStretch(1)
        outer = QVBoxLayout(self)
        outer.setContentsMargins(0, 0, 0, 0)
        outer.addWidget(scrolled(inner))

    def _connect(self) -> None:
        self.begin_button.clicked.connect(self.begin)
        self.paint_button.clicked.connect(self._paint)
        self.order.currentTextChanged.connect(self._order_changed)
        self.alone.toggled.connect(self.picture.set_alone)
        viewer, events = self.canvas.viewer, self.canvas.viewer.layers.events
        events.inserted.connect(self.refresh_outputs)
        events.removed.connect(self.refresh_outputs)
        viewer.dims.events.ndisplay.connect(self.picture.turn)
        self._undone = [
            self.canvas.on_click(self._takes_clicks, self._clicked),
            lambda: events.inserted.disconnect(self.refresh_outputs),
            lambda: events.removed.disconnect(self.refresh_outputs),
            lambda: viewer.dims.events.ndisplay.disconnect(self.picture.turn),
            self.keys.bind(viewer),
        ]
        self.ending = Ending(self, self._over)

    @property
    def buttons(self) -> dict[str, QPushButton]:
        """The button of each action."""
        return self.keys.buttons

    def refresh_outputs(self, _: Any = None) -> None:
        """List the outputs that are shown, and keep the one that is chosen."""
        chosen = self.output.currentText()
        found = [one.location for one in self.canvas.opened("labels") if one.role == "labels/segmentation"]
        places = [location.removesuffix("/labels/segmentation") for location in found]
        if [self.output.itemText(i) for i in range(self.output.count())] != places:
            self.output.clear()
            self.output.addItems(places)
            self.output.setCurrentIndex(max(0, places.index(chosen) if chosen in places else 0))
        self._enable()

    # --- the review ----------------------------------------------------------------------------------------

    def begin(self) -> None:
        """Open the review of the output that is chosen, or end the one that is open."""
        if self.controller is not None:
            self.end()
            return
        if not self.output.currentText():
            self.tell("Open an output of segment first.", error=True)
            return
        self.begin_button.setEnabled(False)
        self.tell("ranking ...")
        self.worker = create_worker(self._open)
        self.worker.returned.connect(self._opened)
        self.worker.errored.connect(lambda error: self._opened(f"{type(error).__name__}: {error}"))
        self.worker.start()

    def _open(self) -> ReviewSession | str:
        """In a thread, since ranking a large output takes its time; or what is wrong."""
        author = self.author.text().strip() or None
        try:
            return ReviewSession.open(
                self.output.currentText(), author, order=self.chosen_order, errors=self._table
            )
        except ConnectomicsError as error:
            return str(error)  # a worker that returns an exception is taken to have failed

    def _opened(self, session: ReviewSession | str) -> None:
        self.begin_button.setEnabled(True)
        if isinstance(session, str):
            self.tell(session, error=True)
            return
        if self.ending.over:
            session.close()
            return
        self.controller = ReviewController(session, self)
        self.picture.begin(live_layer(session))
        sessions.announce(session)
        self.begin_button.setText("End review")
        self.tell(session.read_only or "")
        self.saved.say("Saved on every edit, beside the volume.")
        self.controller.begin()
        self._enable()

    def end(self) -> None:
        """End the review; all is saved."""
        if self.controller is None:
            return
        session = self.controller.session
        self.picture.end()
        sessions.retire(session)
        self.controller.close()
        self.controller = None
        self.begin_button.setText("Begin review")
        for line in (self.question, self.facts, self.progress, self.saved):
            line.say("")
        self._enable()

    @property
    def chosen_order(self) -> Order:
        """How the queue is ranked."""
        return ORDERS[self.order.currentText()]

    @property
    def _table(self) -> Path | None:
        text = self.errors.text().strip()
        return Path(text).expanduser() if self.chosen_order == "errors" and text else None

    def _order_changed(self, _: str) -> None:
        self.errors.setVisible(self.chosen_order == "errors")
        if self.controller is None:
            return
        if self.chosen_order == "errors" and self._table is None:
            self.tell(
                "Name the CSV of errors that `score --errors` wrote; until then the queue stays as it is."
            )
        else:
            self.controller.rank_by(self.chosen_order, self._table)

    def do(self, action: str) -> None:
        """What a key or button does."""
        if self.controller is None:
            return
        if action.startswith("mode_"):
            self.controller.set_mode(action.removeprefix("mode_"))  # type: ignore[arg-type]
        elif action == "split_now":
            self._split()
        else:
            getattr(self.controller, action)()

    def _split(self) -> None:
        if self.controller is None:
            return
        painted = None if self.controller.seeds else self.picture.painted()
        self.controller.split() if painted is None else self.controller.split_painted(*painted)

    def _paint(self) -> None:
        if self.controller is not None:
            self.picture.begin_painting()
            self.tell("Paint label 1 on one side, then press = for label 2 on the other; then Split now.")

    def _takes_clicks(self) -> bool:
        return self.controller is not None and self.controller.mode != "look"

    def _clicked(self, place: tuple[float, float, float], second: bool) -> None:
        if self.controller is not None:
            self.controller.click(place, second)

    def _enable(self) -> None:
        active = self.controller is not None
        for button in (*self.buttons.values(), self.paint_button):
            button.setEnabled(active)
        self.output.setEnabled(not active)
        self.author.setEnabled(not active)
        self.begin_button.setEnabled(active or self.output.count() > 0)

    # --- what the controller asks --------------------------------------------------------------------------

    def frame(self, focus: Focus) -> None:
        """Jump to a place and show its two sides alone."""
        self.picture.frame(focus)

    def repaint_focus(self, focus: Focus) -> None:
        """The two sides of the place in view, after an edit."""
        self.picture.show_sides(focus)

    def redraw(self) -> None:
        """The segmentation has changed."""
        self.picture.redraw()

    def show_seeds(self, seeds: Sequence[Seed]) -> None:
        """Draw what was clicked."""
        self.picture.show_seeds(seeds)

    def end_painting(self) -> None:
        """Put the brush away."""
        self.picture.end_painting()

    def show_status(self, status: Status) -> None:
        """Say how things stand."""
        self.question.say(status.question)
        self.question.setStyleSheet("font-weight: bold; font-size: 12pt")
        self.facts.say(status.facts)
        self.progress.say(status.progress)
        for action, button in self.buttons.items():
            if action.startswith("mode_"):
                button.setChecked(action == f"mode_{status.mode}")
        self.buttons["undo"].setEnabled(status.can_undo)
        self.buttons["redo"].setEnabled(status.can_redo)
        if status.read_only:
            self.saved.say(f"Nothing can be edited: {status.read_only}", error=True)

    def tell(self, text: str, error: bool = False) -> None:
        """Say what was done, or what could not be."""
        self.message.say(text, error)

    def _over(self) -> None:
        """The review ends with its dock."""
        self.end()
        for undo in self._undone:
            undo()
        self._undone = []
