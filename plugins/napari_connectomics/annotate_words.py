"""What the Annotate dock says of crops."""

from connectomics.proofreading.annotating import CropState
from connectomics.training.annotations import TodoList


def crop_line(state: CropState) -> str:
    """A crop and how far it is, in one line."""
    parts = [state.state]
    if state.painted:
        parts.append(f"{100 * state.painted:.0f}% painted")
    if state.traced:
        parts.append(f"{state.traced} skeleton{'s' if state.traced > 1 else ''}")
    if state.crop.use == "validation":
        parts.append("kept to score with")
    return f"{state.crop.name}: {', '.join(parts)}"


def progress_line(folder: str, todo: TodoList) -> str:
    """A folder, and how many of its crops are done."""
    done = sum(crop.done for crop in todo.crops)
    return f"{folder}: {done} of {len(todo.crops)} crops done"
