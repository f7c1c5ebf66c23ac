"""Buttons that show their keys, and the keys themselves, on the canvas and in the dock."""

from collections.abc import Callable, Sequence

from napari.viewer import Viewer
from qtpy.QtCore import Qt
from qtpy.QtGui import QKeySequence, QShortcut
from qtpy.QtWidgets import QGridLayout, QGroupBox, QPushButton, QWidget

from napari_connectomics.keys import ALL, Key, shown


class KeyButtons:
    """One button a key.

    Parameters
    ----------
    dock
        Whose buttons they are.
    do
        Called with the action of the key or button.
    """

    def __init__(self, dock: QWidget, do: Callable[[str], None]) -> None:
        self.dock, self.do = dock, do
        self.buttons: dict[str, QPushButton] = {}

    def group(self, title: str, keys: Sequence[Key], *more: QPushButton) -> QGroupBox:
        """The buttons of some keys, two in a row."""
        box = QGroupBox(title)
        grid = QGridLayout(box)
        for place, button in enumerate([*(self._button(key) for key in keys), *more]):
            grid.addWidget(button, place // 2, place % 2)
        return box

    def _button(self, key: Key) -> QPushButton:
        button = QPushButton(shown(key))
        button.setToolTip(f"<qt>{key.help}</qt>")
        button.setCheckable(key.action.startswith("mode_"))
        button.setFocusPolicy(Qt.FocusPolicy.NoFocus)  # keys go on to the canvas
        button.clicked.connect(lambda *_: self.do(key.action))
        self.buttons[key.action] = button
        return button

    def bind(self, viewer: Viewer) -> Callable[[], None]:
        """Make the keys work on the canvas, and in the dock when it has the focus; returns what ends that."""
        for key in ALL:
            viewer.bind_key(key.key, self._pressed(key.action), overwrite=True)
            shortcut = QShortcut(QKeySequence(key.key.replace("-", "+")), self.dock)
            shortcut.setContext(Qt.ShortcutContext.WidgetWithChildrenShortcut)
            shortcut.activated.connect(self._called(key.action))

        def unbind() -> None:
            for key in ALL:
                viewer.bind_key(key.key, None)

        return unbind

    def _pressed(self, action: str) -> Callable[[Viewer], None]:
        return lambda _: self.do(action)

    def _called(self, action: str) -> Callable[[], None]:
        return lambda: self.do(action)
