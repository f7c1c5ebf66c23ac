"""The keys of the review: letters that no layer of napari uses, so that its own tools keep theirs."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Key:
    """A key, the method of the dock that it calls, the text of its button, and what it does."""

    key: str
    action: str
    text: str
    help: str


QUEUE = (
    Key("K", "previous", "Previous", "Go back to the place before."),
    Key("J", "next", "Next", "Go on without deciding; the place comes again in the next session."),
    Key("G", "accept", "Right as it is", "The segmentation is right here; go on."),
    Key("W", "apply", "Wrong: mend it", "Do what is suggested (merge the two, or split the one) and go on."),
    Key("N", "skip", "Skip", "Leave it open and do not ask again; go on."),
)
MODES = (
    Key("H", "mode_look", "Look", "Clicks do nothing."),
    Key("Shift-M", "mode_merge", "Merge", "Click one segment, then the other: they become one."),
    Key(
        "Shift-S",
        "mode_split",
        "Split",
        "Click points on one side, with Shift on the other; then Split now. Or paint seeds.",
    ),
    Key("Shift-D", "mode_delete", "Delete", "Click a segment: it becomes background."),
)
EDITS = (
    Key("Shift-W", "split_now", "Split now", "Split between the two groups of points, or of painted seeds."),
    Key("U", "undo", "Undo", "Take the last edit back; without limit."),
    Key("Shift-U", "redo", "Redo", "Do what was undone again."),
)
ALL = (*QUEUE, *MODES, *EDITS)


def shown(key: Key) -> str:
    """The text of a button: what it does, and its key."""
    return f"{key.text}  [{key.key.replace('-', '+')}]"
