"""When a dock is over: Qt tells a dock only of its own closing, not of that of its frame or its window."""

from collections.abc import Callable

from qtpy.QtCore import QEvent, QObject
from qtpy.QtWidgets import QApplication, QWidget


class Ending(QObject):
    """Calls a function once, as soon as a dock is closed, taken out of its window, or the window is closed.

    Parameters
    ----------
    dock
        The dock; it need not be in a window yet.
    end
        What is to be done.

    Attributes
    ----------
    over : bool
        Whether that was done.
    """

    def __init__(self, dock: QWidget, end: Callable[[], None]) -> None:
        super().__init__(dock)
        self._dock, self._end = dock, end
        self._window: QObject | None = None
        self._closing = self.over = False
        dock.installEventFilter(self)
        QApplication.instance().aboutToQuit.connect(self.now)

    def now(self) -> None:
        """It is over."""
        if not self.over:
            self.over = True
            self._dock.removeEventFilter(self)
            if self._window is not None:
                self._window.removeEventFilter(self)
            self._end()

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:
        """Look at what happens to the dock and to the window that it is in."""
        kind = event.type()
        if watched is self._dock:
            taken_out = kind == QEvent.Type.ParentChange and self._dock.parent() is None
            if taken_out or kind == QEvent.Type.Close:
                self.now()
            elif kind == QEvent.Type.Show:
                self._look_at_window()
        elif watched is self._window:
            if kind in (QEvent.Type.Close, QEvent.Type.Show):
                self._closing = kind == QEvent.Type.Close  # which may still be refused
            elif kind == QEvent.Type.Hide and self._closing:
                self.now()
        return False

    def _look_at_window(self) -> None:
        window = self._dock.window()
        frame = window.parent() if isinstance(window.parent(), QWidget) else None
        main = frame.window() if frame is not None else window  # of a dock that floats
        if main is not self._window and main is not self._dock:
            self._window = main
            main.installEventFilter(self)
