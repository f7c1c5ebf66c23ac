"""What a long step tells whoever watches; the command line draws it, the viewer too."""

from typing import Protocol


class Progress(Protocol):
    """Receives the advance of a step; every method may be called from any thread."""

    def start(self, step: str, total: int, done: int, unit: str = "blocks") -> None:
        """A step begins: `total` units, `done` of them finished by an earlier run."""

    def advance(self, step: str, units: int = 1) -> None:
        """`units` more are finished."""

    def finish(self, step: str) -> None:
        """The step is over."""


class Silent:
    """Progress that nobody watches."""

    def start(self, step: str, total: int, done: int, unit: str = "blocks") -> None:
        """Do nothing."""

    def advance(self, step: str, units: int = 1) -> None:
        """Do nothing."""

    def finish(self, step: str) -> None:
        """Do nothing."""
