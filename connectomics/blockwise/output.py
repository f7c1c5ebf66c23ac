"""An output and the run that writes it: created, resumed, refused or replaced, never mixed up."""

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from connectomics.blockwise.identity import check_same, fingerprint
from connectomics.blockwise.ledger import Ledger
from connectomics.blockwise.lock import lock_for
from connectomics.errors import BusyError, InputError, OutputExistsError
from connectomics.io.ome_zarr import create_group, is_group
from connectomics.io.place import Place, RemotePath, as_place, remove, subfolders
from connectomics.io.staging import unwritable
from connectomics.roi import IntTriple, int_triple

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Run:
    """One command's run on one output.

    Attributes
    ----------
    path : Place
        The output group, ``OUT.zarr``, on disk or in a bucket.
    ledger : Ledger
        What is done and what failed.
    identity : Mapping
        What the run is; a rerun with the same identity resumes it.
    """

    path: Place
    ledger: Ledger
    identity: Mapping[str, Any]

    @property
    def complete(self) -> bool:
        """True when an earlier run finished everything, and what it wrote is there."""
        return self.ledger.noted("complete") is not None

    def finish(self, report: Mapping[str, Any], kept: Sequence[str]) -> None:
        """Record that everything is done, what is told of it, and which products must stay there."""
        self.ledger.note("kept", list(kept))
        self.ledger.note("complete", report)

    def settled_block(self, block: IntTriple) -> IntTriple:
        """The write block of the run's beginning, by which the ledger counts, whatever is asked for now."""
        begun = self.ledger.noted("block")
        if not begun:
            self.ledger.note("block", list(block))
        return int_triple(begun or block)

    def has(self, product: str) -> bool:
        """True when an array or group of that name exists in the output."""
        return _has(self.path, product)

    def lacks(self, product: str, step: str) -> bool:
        """True when a product is to be made; blocks of the step that had been written to it count no more."""
        if self.has(product):
            return False
        self.ledger.forget(step)
        return True

    def remove(self, product: str) -> None:
        """Delete a product of this run."""
        remove(self.path / product)


@contextmanager
def open_run(
    path: str | Place,
    command: str,
    identity: Mapping[str, Any],
    products: Sequence[str],
    *,
    overwrite: bool = False,
    retry_failed: bool = False,
    create: Callable[[], object] | None = None,
) -> Iterator[Run]:
    """Hold `path` for a run of `command`.

    A complete run whose products are no longer all there is made anew as a whole: of a part that is gone
    nobody knows on what the others were built, and what only the run itself needed is gone with its end.

    Parameters
    ----------
    path
        The output group; made when it does not exist.
    command
        Name of the command; other commands' products in the same group are left alone.
    identity
        Settings that affect the output, model hash and input; see `connectomics.blockwise.identity`.
    products
        Names inside the group that this command writes.
    overwrite
        Replace what this command wrote there before, whatever run it was.
    retry_failed
        Only go on with a run that has failed blocks; in the step that has them, do no others.
    create
        Makes the root when it is itself the product (an image); default: an empty group.

    Raises
    ------
    OutputExistsError
        The output holds something else; the message names what differs.
    BusyError
        Another live run is writing it.
    InputError
        Nothing failed there, and `retry_failed` was asked for.
    NoSpaceError
        The disk is full; what is done stays.
    """
    root = as_place(path)
    ledger = _ledger(root, command, retry_failed, overwrite)
    _check_place(root, within=create is None)
    existed, fresh, began = root.exists(), _is_empty(root), False
    if create is not None and not fresh:
        _check_root(root, command, overwrite)
    if not overwrite:
        _check_products(root, ledger, identity, products)
    anew = overwrite or _is_broken(root, ledger)
    if create is None:
        create_group(root)
    else:
        fresh |= anew  # nothing else was in it
        _create_root(root, command, create, anew)
    try:
        with lock_for(root / "ledger" / "lock.json") as lock:
            ledger.lost = lock.lost
            if anew and create is None:
                _remove(*(root / name for name in products), ledger.folder)
            began = ledger.noted("run") is None
            if began:
                ledger.note("run", dict(identity) | {"fingerprint": fingerprint(identity)})
            yield Run(root, ledger, identity)
    except BusyError:
        raise
    except OSError as error:
        raise unwritable(error, str(root)) or error from None
    except InputError:
        if began and ledger.empty:  # nothing of use was written: leave the place as it was found
            _remove(*([root] if fresh else [*(root / name for name in products), ledger.folder]))
            if existed and isinstance(root, Path):
                root.mkdir(exist_ok=True)
                with suppress(OSError):  # other commands have theirs in it
                    (root / "ledger").rmdir()
        raise


def _is_empty(root: Place) -> bool:
    return not root.exists() or (root.is_dir() and not any(root.iterdir()))


def _has(root: Place, product: str) -> bool:
    if isinstance(root, RemotePath):  # what an upload that broke off left there does not count
        return is_group(root / product)
    return (root / product).exists()


def _remove(*paths: Place) -> None:
    for path in paths:
        remove(path)


def _ledger(root: Place, command: str, retry_failed: bool, overwrite: bool) -> Ledger:
    ledger = Ledger(root / "ledger" / command, failed_only=retry_failed)
    if retry_failed and overwrite:
        raise InputError("--retry-failed keeps what is done, --overwrite removes it: give one of them.")
    if retry_failed and not ledger.failed_steps:
        raise InputError(
            f"{root}: --retry-failed: no block of an earlier run failed there. Leave the option out to go on."
        )
    return ledger


def _is_broken(root: Place, ledger: Ledger) -> bool:
    """True where a complete run's products are not all there."""
    if ledger.noted("complete") is None:
        return False
    gone = [name for name in ledger.noted("kept") or () if not (root / name).exists()]
    if gone:
        log.warning("%s: %s of the complete run is gone; everything is made anew.", root, ", ".join(gone))
    return bool(gone)


def _create_root(root: Place, command: str, create: Callable[[], object], anew: bool) -> None:
    """Make a root that is itself the product, after removing the one that is to be replaced."""
    if anew and root.exists():
        if not _is_empty(root):
            _check_root(root, command, overwrite=True)
        with lock_for(root / "ledger" / "lock.json"):
            _remove(*(child for child in root.iterdir() if child.name != "ledger"))
        remove(root)
    if _is_empty(root):
        create()


def _check_place(root: Place, within: bool) -> None:
    """Refuse what is no place for an output; `within`: for products inside the group that is there."""
    if isinstance(root, RemotePath):
        if root.link.read_only:
            raise InputError(f"{root}: a web server is read only. Write to a folder or a bucket.")
        if not root.key:
            raise InputError(f"{root}: is a whole bucket. Name a place in it, such as {root}/OUT.zarr.")
    else:
        _check_parent(root)
    if not _is_empty(root) and not _is_output(root):
        raise OutputExistsError(
            f"{root}: is a folder that holds something else than an OME-Zarr group. Choose another output."
        )
    if within and (root / ".zgroup").is_file() and not (root / "zarr.json").is_file():
        raise OutputExistsError(
            f"{root}: is a group of zarr format 2, and format 3, which is written, cannot go inside it. "
            "Choose another output."
        )


def _check_parent(root: Path) -> None:
    parent = next(path for path in root.absolute().parents if path.exists())
    if not parent.is_dir():
        raise OutputExistsError(f"{root}: cannot be made, {parent} is a file. Choose another output.")
    if root.exists() and not root.is_dir():
        raise OutputExistsError(f"{root}: is a file, not an OME-Zarr group. Choose another output.")


def _is_output(root: Place) -> bool:
    return is_group(root) or (root / "ledger").is_dir()


def _check_root(root: Place, command: str, overwrite: bool) -> None:
    """An output that is itself the product may be resumed, and replaced where nothing else is in it."""
    writers = {path.name for path in subfolders(root / "ledger")}
    if command not in writers:
        raise OutputExistsError(f"{root}: exists already, not made by this command. Choose another output.")
    if overwrite and writers != {command}:
        others = ", ".join(sorted(writers - {command}))
        raise OutputExistsError(
            f"{root}: also holds what {others} wrote, which would be removed with it. Choose another output."
        )


def _forget_what_counts_no_more(old: dict[str, Any], identity: Mapping[str, Any]) -> Any:
    """Memory, and a block nobody asked for: runs were once told by them. Returns that block."""
    inference = old.get("inference") or {}
    if "memory" not in inference or "memory" in identity.get("inference", {}):
        return None
    old["inference"] = {key: value for key, value in inference.items() if key != "memory"}
    return old.pop("block", None) if identity.get("block", ()) is None else None


def _check_products(
    root: Place, ledger: Ledger, identity: Mapping[str, Any], products: Sequence[str]
) -> None:
    recorded = ledger.noted("run")
    if recorded is not None:
        old = {key: value for key, value in recorded.items() if key != "fingerprint"}
        settled = _forget_what_counts_no_more(old, identity)
        check_same(str(root), old, identity)
        if settled and ledger.noted("block") is None:
            ledger.note("block", settled)
        return
    present = [name for name in products if (root / name).exists()]
    if present:
        raise OutputExistsError(
            f"{root}: already holds {', '.join(present)}, not made by this command. "
            "Choose another output, or replace it with --overwrite."
        )
