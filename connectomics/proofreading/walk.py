"""Walking through the queue: forward to what is next, back to what was seen, and the time each takes."""

import time
from collections.abc import Collection

from connectomics.proofreading.ranking import Candidate, Queue


class Walk:
    """A reviewer's way through a queue, beginning at its best candidate.

    Parameters
    ----------
    queue
        What is taken from it is not given again.
    """

    def __init__(self, queue: Queue) -> None:
        self.queue = queue
        self._visited: list[int] = []
        self._at = -1
        self.next()

    @property
    def current(self) -> Candidate | None:
        """The candidate in view, as things are now; None where the queue is at its end."""
        return self.queue.candidate(self._visited[self._at]) if self._at < len(self._visited) else None

    @property
    def seconds(self) -> float:
        """How long `current` has been in view."""
        return time.monotonic() - self._since

    def next(self) -> None:
        """Go on: to what was seen after this one, else to the best that is left."""
        self._at += 1
        if self._at >= len(self._visited):
            index = self.queue.take()
            self._visited += [] if index is None else [index]
            self._at = len(self._visited) - (index is not None)
        self._since = time.monotonic()

    def previous(self) -> None:
        """Go back to the one before, if there is one."""
        self._at = max(0, self._at - 1)
        self._since = time.monotonic()

    def reopen(self, pairs: Collection[tuple[int, int]]) -> None:
        """Ask again, when its turn comes, what was decided on these fragments and passed."""
        if pairs:
            passed = set(self._visited[: self._at])
            self.queue.give_back(i for i in passed if self.queue.candidate(i).fragments in pairs)

    def ahead(self, number: int) -> list[Candidate]:
        """`current` and the best candidates that are left, so many in all; nothing moves."""
        current = self.current
        found = [] if current is None else [current]
        more = self.queue.peek(max(0, number - len(found)))
        return (found + [self.queue.candidate(index) for index in more])[:number]
