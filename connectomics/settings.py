"""One declaration per knob: the strict base of every stage's settings, and how TOML becomes one."""

import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, Self, get_args, get_origin

from pydantic import BaseModel, ConfigDict, ValidationError, model_validator
from pydantic.fields import FieldInfo

from connectomics.errors import SettingsError, did_you_mean


class Settings(BaseModel):
    """Frozen settings of one stage; each field's docstring is its help text everywhere.

    Unknown keys are refused, with the nearest known name in the message.
    """

    model_config = ConfigDict(
        frozen=True, extra="forbid", use_attribute_docstrings=True, validate_default=True
    )

    @model_validator(mode="before")
    @classmethod
    def _read_choices(cls, values: Any) -> Any:
        """Take the text of a whole number where a field is a choice of whole numbers (command line)."""
        if not isinstance(values, dict):
            return values
        return {name: _as_choice(cls.model_fields.get(name), value) for name, value in values.items()}

    @classmethod
    def parse(cls, values: Mapping[str, Any], where: str = "settings") -> Self:
        """Build the settings from untrusted values.

        Parameters
        ----------
        values
            Keys and values as they came from a TOML file or the command line.
        where
            What to call the source in the error message.

        Raises
        ------
        SettingsError
            An unknown key or a value that does not fit, named with its nearest match.
        """
        try:
            return cls.model_validate(dict(values))
        except ValidationError as error:
            raise SettingsError(f"{where}: {explain(cls, error)}") from None


def explain(model: type[BaseModel], error: ValidationError) -> str:
    """What a validation found, in one line, with the nearest match of each unknown key."""
    return "; ".join(_explain(model, dict(item)) for item in error.errors())


def _as_choice(field: FieldInfo | None, value: Any) -> Any:
    choices = get_args(field.annotation) if field and get_origin(field.annotation) is Literal else ()
    return next((choice for choice in choices if str(choice) == value), value)


def _explain(model: type[BaseModel], item: dict[str, Any]) -> str:
    path = [str(part) for part in item["loc"]]
    name = ".".join(path)
    if item["type"] == "extra_forbidden":
        return f"unknown key '{name}'.{did_you_mean(path[-1], _fields_at(model, path[:-1]))}"
    text = item["msg"].removeprefix("Value error, ")
    if not path:  # of several settings together, which the text names
        return text
    got = f" (got {item['input']!r})" if item["type"] != "missing" else ""
    return f"'{name}': {text}{got}"


def _fields_at(model: type[BaseModel], path: Sequence[str]) -> list[str]:
    for part in path:
        field = model.model_fields.get(part)
        annotation = field.annotation if field else None
        if not (isinstance(annotation, type) and issubclass(annotation, BaseModel)):
            return []
        model = annotation
    return list(model.model_fields)


def read_toml(path: str | Path) -> dict[str, Any]:
    """Read a TOML file.

    Raises
    ------
    SettingsError
        The file does not exist, cannot be read or is not TOML; the message says where.
    """
    try:
        with open(path, "rb") as stream:
            return tomllib.load(stream)
    except FileNotFoundError:
        raise SettingsError(f"{path}: no such configuration file.") from None
    except OSError as error:
        raise SettingsError(f"{path}: cannot be read: {error.strerror}.") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SettingsError(f"{path}: not valid TOML: {error}.") from None


def apply_overrides(values: dict[str, Any], overrides: Sequence[str]) -> dict[str, Any]:
    """Return `values` with ``section.key=value`` overrides applied; values are read as TOML.

    A value that is not TOML (a bare word) is taken as a string.
    """
    result = _copy(values)
    for override in overrides:
        key, separator, text = override.partition("=")
        if not separator:
            raise SettingsError(f"--set {override!r}: expected section.key=value.")
        *parents, leaf = key.strip().split(".")
        table = result
        for parent in parents:
            table = table.setdefault(parent, {})
            if not isinstance(table, dict):
                raise SettingsError(f"--set {override!r}: '{parent}' is not a section.")
        table[leaf] = _toml_value(text.strip())
    return result


def _copy(values: dict[str, Any]) -> dict[str, Any]:
    return {k: _copy(v) if isinstance(v, dict) else v for k, v in values.items()}


def _toml_value(text: str) -> Any:
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text
