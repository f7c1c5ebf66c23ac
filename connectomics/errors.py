"""The errors a user can meet: what is wrong, what was got, what to do about it."""

import errno
from collections.abc import Iterable
from difflib import get_close_matches

OF_THE_PATH = frozenset(
    {
        errno.EACCES,
        errno.EEXIST,
        errno.EISDIR,
        errno.ELOOP,
        errno.ENAMETOOLONG,
        errno.ENOENT,
        errno.ENOTDIR,
        errno.EPERM,
        errno.EROFS,
    }
)
"""What the system says of a path that cannot be used: the user's to mend, unlike a failing disk."""


class ConnectomicsError(Exception):
    """Base of every error raised on purpose; the command line prints it without a traceback."""

    exit_code = 2


class InputError(ConnectomicsError):
    """The caller gave something that cannot be used (exit code 2)."""


class GeometryError(InputError):
    """Voxel sizes, offsets or shapes that do not fit together."""


class FormatError(InputError):
    """A file that is truncated, corrupt, untrusted or of an unknown format."""


class SettingsError(InputError):
    """A setting that does not exist or a value it cannot take."""


class ModelError(InputError):
    """A model that does not exist, is damaged, or does not fit the input."""


class OutputExistsError(InputError):
    """The output holds something else already; nothing was touched."""


class BusyError(InputError):
    """Another live run is writing this output."""


class RemoteError(ConnectomicsError):
    """A bucket or web server went on failing; a rerun goes on where it stopped (exit code 1)."""

    exit_code = 1


class RunFailed(ConnectomicsError):
    """Some blocks failed; the others are done and a rerun does only the failed ones (exit code 1)."""

    exit_code = 1


class NoSpaceError(RunFailed):
    """The disk is full: the run stopped, and goes on when there is room (exit code 1)."""


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Return a hint such as ``" Did you mean 'threshold'?"``, or the known names if none is near.

    Parameters
    ----------
    name
        What the user wrote.
    known
        The names that exist.
    """
    names = sorted(known)
    close = get_close_matches(name, names, n=1, cutoff=0.5)
    if close:
        return f" Did you mean '{close[0]}'?"
    return f" Known: {', '.join(names)}." if names else ""
