"""Words of a command line as values, where they are plain: Typer would load a validation library for each option.

That library takes longer to import than most commands take to run. What is not plain (a wrong number, a folder that is
missing, a choice that does not exist) goes to Typer, which says so in its own words.
"""

import math
import os
import re
from collections.abc import Callable
from enum import Enum
from pathlib import Path
from typing import Any, NoReturn, TypeVar, get_args, get_origin

_Number = TypeVar("_Number", int, float)

_INTEGER = re.compile(r"-?[0-9]{1,18}")
_DECIMAL = re.compile(r"-?[0-9]{1,18}(\.[0-9]{1,18})?([eE]-?[0-9]{1,3})?")


class _Unplain(Exception):
    """Typer's business."""


def quicken(parameter: Any, annotation: Any, info: Any) -> None:
    """Let a command's parameter of this type and these options take plain words at once."""
    thorough = parameter.process_value
    kind, whole = _kind(annotation)

    def process(context: Any, value: Any) -> Any:
        try:
            found = _value(value, kind, info, whole=whole)
        except _Unplain:
            return thorough(context, value)
        if parameter.required and found is None:
            return thorough(context, value)
        return found if parameter.callback is None else parameter.callback(context, parameter, found)

    parameter.process_value = process


def _kind(annotation: Any) -> tuple[Any, bool]:
    """The type of one word, and whether there is but one: `list[Path] | None` is Path, and many."""
    plain = [one for one in get_args(annotation) if one is not type(None)]
    if get_origin(annotation) is list:
        return plain[0], False
    return _kind(plain[0]) if plain else (annotation, True)


def _value(value: Any, kind: Any, info: Any, *, whole: bool) -> Any:
    if not whole:
        return [_one(word, kind, info) for word in value] if value else ()
    return None if value is None else _one(value, kind, info)


def _one(word: Any, kind: Any, info: Any) -> Any:
    if issubclass(kind, Enum):
        return word if isinstance(word, kind) else _known(kind, word)
    if not isinstance(word, str):
        return word if type(word) is kind else _refuse()
    read = _READERS.get(kind)
    return _refuse() if read is None else read(word, info)


def _known(kind: type[Enum], word: Any) -> Enum:
    return next((one for one in kind if one.value == word), None) or _refuse()


def _integer(word: str, info: Any) -> Any:
    return _within(int(word), info) if _INTEGER.fullmatch(word) else _refuse()


def _decimal(word: str, info: Any) -> Any:
    return _within(float(word), info) if _DECIMAL.fullmatch(word) else _refuse()


def _within(number: _Number, info: Any) -> _Number:
    least = -math.inf if info.min is None else info.min
    most = math.inf if info.max is None else info.max
    return number if least <= number <= most else _refuse()


def _path(word: str, info: Any) -> Any:
    path = Path(word)
    if info.resolve_path or info.allow_dash:
        return _refuse()
    if not path.exists():
        return _refuse() if info.exists else path
    fits = (info.file_okay or not path.is_file()) and (info.dir_okay or not path.is_dir())
    usable: bool = fits and os.access(path, os.R_OK) and not info.writable
    return path if usable else _refuse()


def _refuse() -> NoReturn:
    raise _Unplain


_READERS: dict[Any, Callable[[str, Any], Any]] = {
    str: lambda word, _: word,
    int: _integer,
    float: _decimal,
    Path: _path,
}
