"""Help, messages and scrolling, the same in every dock."""

from qtpy.QtCore import Qt
from qtpy.QtWidgets import QFrame, QLabel, QScrollArea, QSizePolicy, QWidget

ERROR_STYLE = "color: #d9480f; font-weight: bold"
"""Readable on napari's light and on its dark theme."""

DOCK_WIDTH = 330
"""Pixels that a dock needs at least."""


class MessageLine(QLabel):
    """What was done last, or what could not be."""

    def __init__(self) -> None:
        super().__init__()
        self.setWordWrap(True)
        self.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
        self.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.MinimumExpanding)

    def say(self, text: str, error: bool = False) -> None:
        """Show a line; errors stand out."""
        self.setTextFormat(Qt.TextFormat.PlainText)
        self.setText(text)
        self.setStyleSheet(ERROR_STYLE if error else "")


def help_label(text: str) -> QLabel:
    """Help, in lines as wide as the dock."""
    label = QLabel(text)
    label.setWordWrap(True)
    label.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.MinimumExpanding)
    return label


def scrolled(widget: QWidget) -> QScrollArea:
    """A widget that may be higher than the dock."""
    area = QScrollArea()
    area.setWidgetResizable(True)
    area.setFrameShape(QFrame.Shape.NoFrame)
    area.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
    area.setWidget(widget)
    return area
