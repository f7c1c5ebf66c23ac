"""Connections to buckets and web servers: credentials, retries with back-off, errors in one clear line."""

import asyncio
import logging
import os
import random
import re
import time
from collections.abc import Awaitable, Callable
from datetime import timedelta
from functools import lru_cache
from typing import Any, TypeVar

from connectomics.errors import ConnectomicsError, InputError, RemoteError, SettingsError

RETRY_VARIABLE = "CONNECTOMICS_RETRY_SECONDS"
RETRY_SECONDS = 120.0
"""How long a request that fails is tried again, unless the environment says otherwise."""
ACCESS = {
    "s3": " Check the credentials and their rights; for a public bucket set AWS_SKIP_SIGNATURE=true.",
    "gs": " Check GOOGLE_APPLICATION_CREDENTIALS; for a public bucket set GOOGLE_SKIP_SIGNATURE=true.",
}
ADDRESS = {"s3": "AWS_REGION, AWS_ENDPOINT_URL", "gs": "the bucket"}
FIRST_SECONDS = 10.0
"""The same for a store that has never answered: a wrong address should not take minutes to be noticed."""
LONGEST_WAIT = 15.0
BRIEF = timedelta(milliseconds=100)

log = logging.getLogger(__name__)

T = TypeVar("T")


class Connection:
    """A bucket or web server, shared by all that reads and writes there in this process; never pickled.

    obstore itself tries reads and plain writes again after a 503, a reset and a timeout, three times within a
    second or two. It gives up at once on conditional writes, deletions and lists that break off midway
    (they may or may not have happened), and on longer outages: those are tried again here.

    Parameters
    ----------
    root
        ``s3://BUCKET``, ``gs://BUCKET``, ``http(s)://HOST``.
    store
        The obstore client.
    seconds
        How long to try.
    """

    def __init__(self, root: str, store: Any, seconds: float) -> None:
        self.root = root
        self.store = store
        self.seconds = seconds
        self.answered = False

    @property
    def read_only(self) -> bool:
        """True for a web server."""
        return self.root.startswith("http")

    def call(self, operation: Callable[[], T], *passing: type[Exception]) -> T:
        """The result of `operation`, tried again where that may help.

        Errors of the types `passing` come as they are.

        Raises
        ------
        FileNotFoundError
            There is no such object.
        InputError, RemoteError
            See `explained`.
        """
        attempts = _Attempts(self, passing)
        while True:
            try:
                result = operation()
            except Exception as error:
                time.sleep(attempts.wait_after(error))
            else:
                self.answered = True
                return result

    async def call_async(self, operation: Callable[[], Awaitable[T]], *passing: type[Exception]) -> T:
        """Like `call`, for a coroutine function."""
        attempts = _Attempts(self, passing)
        while True:
            try:
                result = await operation()
            except Exception as error:
                await asyncio.sleep(attempts.wait_after(error))
            else:
                self.answered = True
                return result


class _Attempts:
    """The attempts at one request: how long to wait before the next, or the error that ends them."""

    def __init__(self, connection: Connection, passing: tuple[type[Exception], ...]) -> None:
        self.connection = connection
        self.passing: tuple[type[Exception], ...] = (FileNotFoundError, ConnectomicsError, *passing)
        self.began = time.monotonic()
        self.count = 0

    def wait_after(self, error: Exception) -> float:
        """Seconds to wait; raises where another attempt is of no use or comes too late."""
        code = _status(error)
        if isinstance(error, self.passing):
            self.connection.answered = True
            raise error
        if code == 501 and NotImplementedError in self.passing:
            raise NotImplementedError(_short(error)) from error
        if not type(error).__module__.startswith("obstore"):
            raise error
        if not _may_pass(error):
            raise explained(error, self.connection) from error
        limit = self.connection.seconds
        if not self.connection.answered:
            limit = min(limit, FIRST_SECONDS)
        wait = min(LONGEST_WAIT, 0.2 * 2**self.count) * random.uniform(0.5, 1.0)
        self.count += 1
        if time.monotonic() - self.began + wait > limit:
            raise explained(error, self.connection) from error
        log.info("%s: %s; trying again in %.1f s", self.connection.root, _short(error), wait)
        return wait


def connection(root: str) -> Connection:
    """The connection to a bucket or server, made on first use by what the environment says.

    Raises
    ------
    InputError
        obstore is not installed, or no credentials are found.
    """
    names = ("AWS_", "GOOGLE_", RETRY_VARIABLE, "HOME")
    known = tuple(sorted(item for item in os.environ.items() if item[0].startswith(names)))
    return _connect(root, known)


@lru_cache(maxsize=32)
def _connect(root: str, environment: tuple[tuple[str, str], ...]) -> Connection:
    try:
        from obstore.store import HTTPStore, from_url
    except ImportError:
        raise InputError(
            f"{root}: buckets and web servers need another package: pip install 'xray-connectomics[remote]'."
        ) from None
    known = dict(environment)
    seconds = _seconds(known.get(RETRY_VARIABLE))
    endpoint = known.get("AWS_ENDPOINT_URL_S3") or known.get("AWS_ENDPOINT_URL") or ""
    plain = root.startswith("http://") or (root.startswith("s3://") and endpoint.startswith("http://"))
    # reads and 5 MB parts of writes: no byte for `read_timeout` means a stalled connection
    stall = max(1, round(min(30.0, seconds / 4)))
    client: dict[str, Any] = {
        "allow_http": plain,
        "connect_timeout": f"{min(5, stall)}s",
        "read_timeout": f"{stall}s",
        "timeout": "300s",
    }
    retry: dict[str, Any] = {
        "max_retries": 3,
        "retry_timeout": timedelta(seconds=seconds),
        "backoff": {"init_backoff": BRIEF, "max_backoff": timedelta(seconds=2), "base": 2},
    }
    options: dict[str, Any] = {"client_options": client, "retry_config": retry}
    try:
        if root.startswith("http"):
            return Connection(root, HTTPStore.from_url(root, **options), seconds)
        if root.startswith("s3://"):
            options |= _s3_credentials(root, known)
        return Connection(root, from_url(root, **options), seconds)
    except ConnectomicsError:
        raise
    except Exception as error:
        raise InputError(f"{root}: cannot be reached as it is set up: {_short(error)}.") from error


def _seconds(text: str | None) -> float:
    try:
        seconds = RETRY_SECONDS if text is None else float(text)
    except ValueError:
        seconds = -1.0
    if not 0 <= seconds < 1e6:
        raise SettingsError(f"{RETRY_VARIABLE}: expected a number of seconds, got {text!r}.")
    return seconds


def _s3_credentials(root: str, known: dict[str, str]) -> dict[str, Any]:
    """Keys in the environment are obstore's own business; profiles, roles and log-ins are boto3's."""
    if known.get("AWS_ACCESS_KEY_ID") or known.get("AWS_SKIP_SIGNATURE", "").lower() in ("true", "1"):
        return {}
    try:
        from obstore.auth.boto3 import Boto3CredentialProvider

        return {"credential_provider": Boto3CredentialProvider()}
    except Exception as error:  # whatever boto3 makes of a profile, it is the user's to mend
        found = "" if "None from session" in str(error) else f" ({_short(error)})"
        raise InputError(
            f"{root}: no credentials were found{found}. Set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or "
            "AWS_PROFILE; for a public bucket AWS_SKIP_SIGNATURE=true."
        ) from None


def explained(error: Exception, link: Connection) -> ConnectomicsError:
    """The error to show for one of obstore's: bad input (exit code 2), or a store that failed (1)."""
    where, text = link.root, str(error)
    scheme = where.partition(":")[0]
    code = _status(error)
    if code in (401, 403) or type(error).__name__ in ("PermissionDeniedError", "UnauthenticatedError"):
        return InputError(f"{where}: access was denied ({code or 403}).{ACCESS.get(scheme, '')}")
    if "NoSuchBucket" in text:
        return InputError(f"{where}: no such bucket. Check its name and {ADDRESS.get(scheme)}.")
    if code in (301, 307) or "redirect" in text.lower():
        return InputError(f"{where}: the bucket is in another region. Set AWS_REGION to the one it is in.")
    if type(error).__name__ == "NotSupportedError":
        return InputError(f"{where}: the server does not serve parts of files ({_short(error)}).")
    if code is not None and not _may_pass(error):
        return InputError(f"{where}: the request was refused: {_short(error)}.")
    if not link.answered and code is None:
        check = ADDRESS.get(scheme, "the address")
        return InputError(f"{where}: no answer ({_short(error)}). Check {check} and the network.")
    return RemoteError(
        f"{where}: failed again and again ({_short(error)}). Run the same command again to go on."
    )


def missing_bucket(link: Connection) -> InputError:
    """The error for a bucket that is not there."""
    return explained(FileNotFoundError("NoSuchBucket"), link)  # type: ignore[return-value]


def _may_pass(error: Exception) -> bool:
    """Whether another attempt may succeed: anything but a definite answer."""
    code = _status(error)
    if code is not None:
        return (code >= 500 and code != 501) or code in (408, 429)
    return type(error).__name__ == "GenericError" and "redirect" not in str(error).lower()


def _status(error: Exception) -> int | None:
    found = re.search(r"status code: (\d{3})", str(error))
    return int(found[1]) if found else None


def _short(error: Exception) -> str:
    """What went wrong, without the body of the answer and the library's own debugging text."""
    line = (str(error).strip().splitlines() or [type(error).__name__])[0]
    code = re.search(r"status code: (\d{3} [A-Za-z ]+)", line)
    if code:
        return code[1].strip()
    return line.rpartition(" - ")[2][-200:]
