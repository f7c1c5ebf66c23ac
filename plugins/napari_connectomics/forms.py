"""Forms from the command line's own declarations: one knob is declared once, in a settings class."""

import inspect
import shlex
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

from connectomics.errors import SettingsError
from connectomics.settings import Settings

HIDDEN = {"volume", "out", "model", "region", "report"}
"""Parameters of a command that the dock sees to itself."""


@dataclass(frozen=True)
class Knob:
    """One option of a command.

    Attributes
    ----------
    name : str
        As the settings call it.
    group : str
        Under which heading it stands.
    kind : str
        "flag", "choice" or "text".
    default : str
        What is taken where nothing is given, as text; "" where the command decides.
    help : str
        Its docstring.
    choices : tuple of str
        Of a "choice".
    settings : type, optional
        The settings class that checks it.
    many : bool
        It takes several values, with spaces between them.
    """

    name: str
    group: str
    kind: Literal["flag", "choice", "text"]
    default: str
    help: str
    choices: tuple[str, ...] = ()
    settings: type[Settings] | None = None
    many: bool = False

    @property
    def option(self) -> str:
        """Its name on the command line."""
        return "--" + self.name.replace("_", "-")

    @property
    def label(self) -> str:
        """Its name for people."""
        return self.name.replace("_", " ")


def knobs_of(command: Callable[..., Any]) -> list[Knob]:
    """The options of a command, in order, without those of `HIDDEN`."""
    hints = get_type_hints(command, include_extras=True)
    help_texts = _parameter_help(command)
    found: list[Knob] = []
    for name, parameter in inspect.signature(command).parameters.items():
        if name in HIDDEN:
            continue
        annotation, group = _bare(hints[name])
        if isinstance(annotation, type) and issubclass(annotation, Settings):
            for field_name, field in annotation.model_fields.items():
                bare, _ = _bare(field.annotation)
                knob = _knob(field_name, bare, field.default, group, field.description or "", annotation)
                # where the command chooses for itself, such as by the model, "no" is something to say too
                chosen = knob.kind == "flag" and parameter.default is None
                found.append(replace(knob, kind="choice", choices=("yes", "no")) if chosen else knob)
        else:
            found.append(_knob(name, annotation, parameter.default, "Run", help_texts.get(name, ""), None))
    return found


def arguments(knobs: Sequence[Knob], given: Mapping[str, str | bool]) -> list[str]:
    """The command-line words for what was filled in; what was left empty is left to the command.

    Raises
    ------
    SettingsError
        A value that does not fit, in the words of the command line.
    """
    words: list[str] = []
    for knob in knobs:
        value = given.get(knob.name, "")
        if knob.kind == "flag":
            words += [knob.option] if value is True else []
            continue
        text = str(value).strip()
        if knob.choices == ("yes", "no"):
            words += {"yes": [knob.option], "no": [f"--no-{knob.option[2:]}"]}.get(text, [])
        elif text:
            parts = text.split() if knob.many else [text]
            _check(knob, parts)
            words += [knob.option, *parts]
    return words


def command_line(words: Sequence[str]) -> str:
    """What to type to get the same without the viewer."""
    return shlex.join(["connectomics", *words])


def _check(knob: Knob, parts: list[str]) -> None:
    if knob.settings is None:
        return
    knob.settings.parse({knob.name: tuple(parts) if knob.many else parts[0]}, knob.label)


def _knob(
    name: str, annotation: Any, default: Any, group: str, text: str, settings: type[Settings] | None
) -> Knob:
    plain = " ".join(text.split())
    if annotation is bool:
        if default not in (False, None):
            raise SettingsError(f"{name}: a flag that is on by default has no place in the form.")
        return Knob(name, group, "flag", "", plain, (), settings)
    choices = get_args(annotation) if get_origin(annotation) is Literal else ()
    shown = "" if default in (None, inspect.Parameter.empty) else _text(default)
    kind: Literal["choice", "text"] = "choice" if choices else "text"
    many = get_origin(annotation) is tuple
    return Knob(name, group, kind, shown, plain, tuple(str(one) for one in choices), settings, many)


def _text(value: Any) -> str:
    if isinstance(value, tuple):
        return " ".join(_text(one) for one in value)
    return f"{value:g}" if isinstance(value, float) else str(value)


def _bare(annotation: Any) -> tuple[Any, str]:
    """An annotation without its metadata and without None, and the group that cyclopts puts it in."""
    group = "Run"
    while True:
        if get_origin(annotation) is Annotated:
            annotation, *extras = get_args(annotation)
            groups = [_group(extra) for extra in extras]
            group = next((one for one in groups if one), group)
        elif get_origin(annotation) in (Union, UnionType):
            kept = [one for one in get_args(annotation) if one is not NoneType]
            if len(kept) != 1:
                return annotation, group
            annotation = kept[0]
        else:
            return annotation, group


def _group(extra: Any) -> str:
    group = getattr(extra, "group", None)
    first = next(iter(group), None) if isinstance(group, tuple | list) else group
    return str(getattr(first, "name", first)) if first is not None else ""


def _parameter_help(command: Callable[..., Any]) -> dict[str, str]:
    """What a numpydoc docstring says of each parameter."""
    lines = inspect.cleandoc(command.__doc__ or "").splitlines()
    texts: dict[str, list[str]] = {}
    name = ""
    start = next((i for i, line in enumerate(lines) if set(line.strip()) == {"-"}), len(lines))
    for line in lines[start + 1 :]:
        if line and not line[0].isspace():
            name = line.strip()
            texts[name] = []
        elif name:
            texts[name].append(line.strip())
    return {key: " ".join(part for part in parts if part) for key, parts in texts.items()}
