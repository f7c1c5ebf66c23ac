"""The `connectomics` command: parses, runs, and turns errors into one clear line and an exit code."""

import signal
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib import import_module

from cyclopts import App, CycloptsError, Parameter
from pydantic import ValidationError
from rich.console import Console

from connectomics import __version__
from connectomics.errors import OF_THE_PATH, ConnectomicsError

app = App(
    name="connectomics",
    help="Segment X-ray and electron-microscopy volumes of the brain, with errors known.",
    version=__version__,
    suppress_keyboard_interrupt=False,  # `run` says what to do next
    default_parameter=Parameter(negative_iterable=()),  # no --empty-voxel-size
)

# Each command lives in a module of its own, light to import: what is heavy is imported when it runs.
COMMANDS = (
    "demo",
    "phantom",
    "info",
    "convert",
    "train",
    "predict",
    "translate",
    "segment",
    "cascade",
    "adapt",
    "evaluate",
    "export",
    "score",
    "submit",
    "models",
    "data",
    "status",
    "doctor",
    "view",
)
for _name in COMMANDS:
    app.command(getattr(import_module(f"connectomics.cli.{_name}"), _name), name=_name)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line and exit with 0 (done), 1 (something failed) or 2 (wrong use or bad input)."""
    sys.exit(run(arguments))


def run(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return the exit code."""
    console = Console(stderr=True, markup=False, emoji=False, highlight=False, soft_wrap=True)
    with _interrupts() as interrupted:
        try:
            app(
                list(arguments) if arguments is not None else None,
                exit_on_error=False,
                print_error=False,
                result_action="return_value",
            )
        except SystemExit as stop:
            return stop.code if isinstance(stop.code, int) else int(bool(stop.code))
        except (Exception, KeyboardInterrupt) as error:
            if interrupted or isinstance(error, KeyboardInterrupt):
                console.print("interrupted: run the same command again to go on where it stopped")
                return 130
            said, code = _explain(error)
            if said is None:
                raise
            console.print(f"error: {said}", style="red")
            return code
    return 0


@contextmanager
def _interrupts() -> Iterator[list[int]]:
    """Note the interrupts that come: some libraries turn a KeyboardInterrupt into an error of their own."""
    seen: list[int] = []

    def interrupt(number: int, frame: object) -> None:
        seen.append(number)
        raise KeyboardInterrupt

    ours = signal.getsignal(signal.SIGINT) is signal.default_int_handler
    if not ours or threading.current_thread() is not threading.main_thread():
        yield seen
        return
    signal.signal(signal.SIGINT, interrupt)
    try:
        yield seen
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def _explain(error: BaseException) -> tuple[str | None, int]:
    """What to say of an error, and the exit code; None of one that nobody foresaw."""
    if isinstance(error, CycloptsError):
        return _one_line(error), 2
    if isinstance(error, ConnectomicsError):
        return str(error), error.exit_code
    if isinstance(error, OSError) and error.errno in OF_THE_PATH:
        where = error.filename or "a file"
        advice = "Check the path, and who may read and write there, or name another."
        return f"{where}: {error.strerror}. {advice}", 2
    return None, 1


def _one_line(error: CycloptsError) -> str:
    """What was wrong with the command line; a setting is named as its option."""
    cause = error.__cause__
    if isinstance(cause, ValidationError):
        found = cause.errors()[0]
        option = ".".join(str(part).replace("_", "-") for part in found["loc"])
        return f"--{option}: {found['msg'].removeprefix('Value error, ')} (got {found['input']!r})."
    text = " ".join(str(error).split())
    return text + _models_at_hand() if "--model requires" in text else text


def _models_at_hand() -> str:
    from connectomics.networks.models import suggest_models

    found = {task: suggest_models(task) for task in ("affinities", "translation")}
    return "".join(f" Shipped for {task}: {names}." for task, names in found.items() if names)


if __name__ == "__main__":
    main()
