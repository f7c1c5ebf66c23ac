"""The review that is open, for the docks that look at what it edits."""

from collections.abc import Callable

from connectomics.proofreading.session import ReviewSession

_open: dict[str, ReviewSession] = {}
_listeners: list[Callable[[], None]] = []


def announce(session: ReviewSession) -> None:
    """A review has begun."""
    _open[str(session.output.path)] = session
    _tell()


def retire(session: ReviewSession) -> None:
    """A review has ended."""
    _open.pop(str(session.output.path), None)
    _tell()


def session_on(location: str) -> ReviewSession | None:
    """The open review of the output that a layer lies in, or None."""
    return next((one for path, one in _open.items() if location.startswith(f"{path}/")), None)


def _tell() -> None:
    for listener in list(_listeners):
        listener()


def listen(listener: Callable[[], None]) -> Callable[[], None]:
    """Be told when a review begins or ends; returns what ends that."""
    _listeners.append(listener)
    return lambda: _listeners.remove(listener)
