"""What a run is: the hash that decides between resuming, refusing and starting afresh."""

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from connectomics.errors import OutputExistsError


def fingerprint(identity: Mapping[str, Any]) -> str:
    """SHA-256 of the identity as canonical JSON."""
    text = json.dumps(identity, sort_keys=True, separators=(",", ":"), default=list)
    return hashlib.sha256(text.encode()).hexdigest()


def differences(old: Mapping[str, Any], new: Mapping[str, Any], prefix: str = "") -> list[str]:
    """Every entry in which two identities differ, as ``key: old -> new``."""
    found = []
    for key in sorted(set(old) | set(new)):
        a, b = old.get(key), new.get(key)
        if isinstance(a, Mapping) and isinstance(b, Mapping):
            found += differences(a, b, f"{prefix}{key}.")
        elif _canonical(a) != _canonical(b):
            found.append(f"{prefix}{key}: {_short(a)} -> {_short(b)}")
    return found


def check_same(where: str, old: Mapping[str, Any], new: Mapping[str, Any]) -> None:
    """Raise OutputExistsError, naming what differs, unless both identities are the same run."""
    found = differences(old, new)
    if found:
        raise OutputExistsError(
            f"{where}: holds the output of another run ({'; '.join(found)}). "
            "Choose another output, or replace it with --overwrite."
        )


def _canonical(value: Any) -> str:
    return json.dumps(value, sort_keys=True, default=list)


def _short(value: Any) -> str:
    text = _canonical(value)
    return text if len(text) <= 60 else text[:57] + "..."
