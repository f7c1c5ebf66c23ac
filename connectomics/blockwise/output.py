"""An output and the run that writes it: created, resumed, refused or replaced, never mixed up."""

import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from connectomics.blockwise.identity import check_same, fingerprint
from connectomics.blockwise.ledger import Ledger
from connectomics.blockwise.lock import Lock
from connectomics.errors import BusyError, InputError, OutputExistsError
from connectomics.io.ome_zarr import create_group

GROUP_MARKS = ("zarr.json", ".zgroup")


@dataclass(frozen=True)
class Run:
    """One command's run on one output.

    Attributes
    ----------
    path : Path
        The output group, ``OUT.zarr``.
    ledger : Ledger
        What is done and what failed.
    identity : Mapping
        What the run is; a rerun with the same identity resumes it.
    """

    path: Path
    ledger: Ledger
    identity: Mapping[str, Any]

    @property
    def complete(self) -> bool:
        """True when an earlier run finished everything."""
        return self.ledger.noted("complete") is not None

    def has(self, product: str) -> bool:
        """True when an array or group of that name exists in the output."""
        return (self.path / product).exists()

    def remove(self, product: str) -> None:
        """Delete a product of this run."""
        shutil.rmtree(self.path / product, ignore_errors=True)


@contextmanager
def open_run(
    path: str | Path,
    command: str,
    identity: Mapping[str, Any],
    products: Sequence[str],
    *,
    overwrite: bool = False,
    create: Callable[[], object] | None = None,
) -> Iterator[Run]:
    """Hold `path` for a run of `command`.

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
    create
        Makes the root when it is itself the product (an image); default: an empty group.

    Raises
    ------
    OutputExistsError
        The output holds something else; the message names what differs.
    BusyError
        Another live run is writing it.
    """
    root = Path(path)
    folder = root / "ledger" / command
    plain = dict(identity) | {"fingerprint": fingerprint(identity)}
    _check_place(root)
    fresh = not root.exists()
    if not overwrite:
        _check_products(root, Ledger(folder), identity, products)
    if create is not None and overwrite and root.exists():
        with Lock(root / "ledger" / "lock.json"):
            shutil.rmtree(root)
    if create is None:
        create_group(root)
    elif not root.exists():
        create()
    try:
        with Lock(root / "ledger" / "lock.json"):
            if overwrite and create is None:
                for name in (*products, f"ledger/{command}"):
                    shutil.rmtree(root / name, ignore_errors=True)
            ledger = Ledger(folder)
            if ledger.noted("run") is None:
                ledger.note("run", plain)
            yield Run(root, ledger, identity)
    except BusyError:
        raise
    except InputError:
        if fresh:  # nothing of use was written: leave the place as it was found
            shutil.rmtree(root, ignore_errors=True)
        raise


def _check_place(root: Path) -> None:
    if root.exists() and not root.is_dir():
        raise OutputExistsError(f"{root}: is a file, not an OME-Zarr group. Choose another output.")
    if root.is_dir() and any(root.iterdir()) and not _is_group(root):
        raise OutputExistsError(
            f"{root}: is a folder that holds something else than an OME-Zarr group. Choose another output."
        )


def _is_group(root: Path) -> bool:
    return any((root / mark).exists() for mark in GROUP_MARKS) or (root / "ledger").is_dir()


def _check_products(root: Path, ledger: Ledger, identity: Mapping[str, Any], products: Sequence[str]) -> None:
    recorded = ledger.noted("run")
    if recorded is not None:
        old = {key: value for key, value in recorded.items() if key != "fingerprint"}
        check_same(str(root), old, identity)
        return
    present = [name for name in products if (root / name).exists()]
    if present:
        raise OutputExistsError(
            f"{root}: already holds {', '.join(present)}, not made by this command. "
            "Choose another output, or replace it with --overwrite."
        )
