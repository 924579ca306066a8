"""Frozen dataclasses read from TOML: unknown keys, other types, numbers out of range are errors that name the key."""

import dataclasses
import difflib
import math
import tomllib
import types
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

__all__ = ["Above", "Between", "from_toml", "plain", "tuples"]

T = TypeVar("T")


@dataclass(frozen=True)
class Between:
    """Numbers from the first to the last, both included."""

    first: float
    last: float = math.inf

    def __call__(self, value: float) -> str | None:
        """Return what is expected of a value that is out of range."""
        if self.first <= value <= self.last:
            return None
        return f"at least {self.first}" if self.last == math.inf else f"between {self.first} and {self.last}"


@dataclass(frozen=True)
class Above:
    """Numbers larger than one, and smaller than another."""

    low: float
    high: float = math.inf

    def __call__(self, value: float) -> str | None:
        """Return what is expected of a value that is out of range."""
        if self.low < value < self.high:
            return None
        end = "" if self.high == math.inf else f" and smaller than {self.high}"
        return f"larger than {self.low}{end}"


def from_toml(kind: type[T], path: Path, changes: Sequence[str] = ()) -> T:
    """Read a dataclass from a TOML file.

    A field's type says what its key takes: bool, int, float (integers too), str, a Literal, a tuple of one type, a
    dictionary of plain values, another dataclass (a table), or one of these or nothing (` | None`: the key is left
    out). `Annotated[..., Between(...)]` limits a number, or the numbers of a tuple.

    Args:
        kind: the dataclass.
        path: of the file.
        changes: texts `key=value`, such as `train.epochs=3`, that override it; the value is TOML, or else a plain text.

    Raises:
        ValueError: no such file, no TOML, or a key at fault; the text names the file and the key.

    Example:
        >>> import tempfile
        >>> @dataclass(frozen=True)
        ... class Box:
        ...     width: Annotated[int, Between(1)] = 3
        >>> file = Path(tempfile.mkdtemp()) / "box.toml"
        >>> _ = file.write_text("width = 4")
        >>> from_toml(Box, file), from_toml(Box, file, ["width=5"])
        (Box(width=4), Box(width=5))
    """
    table = _parsed(path)
    for change in changes:
        _override(table, change)
    try:
        return _table(kind, table, "")
    except _Fault as fault:
        raise ValueError(f"{path}: {fault}") from None


def plain(config: Any) -> dict[str, Any]:
    """Return a dataclass as plain JSON values."""
    content: dict[str, Any] = dataclasses.asdict(config)
    return content


def tuples(options: Mapping[str, Any]) -> dict[str, Any]:
    """Return options as keywords: TOML has lists where Python's arguments are tuples.

    >>> tuples({"betas": [0.9, 0.99], "lr": 0.1})
    {'betas': (0.9, 0.99), 'lr': 0.1}
    """
    return {name: tuple(value) if isinstance(value, list) else value for name, value in options.items()}


class _Fault(Exception):
    """A key at fault, and why."""


def _parsed(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ValueError(f"{path} cannot be read ({error.strerror}): name a TOML file") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ValueError(f"{path} is no TOML file ({error})") from error


def _override(table: dict[str, Any], change: str) -> None:
    name, equals, text = change.partition("=")
    if not equals or not all(name.strip().split(".")):
        raise ValueError(f"--set {change} must be KEY=VALUE, such as train.epochs=3")
    *way, last = name.strip().split(".")
    for part in way:
        table = table.setdefault(part, {})
        if not isinstance(table, dict):
            raise ValueError(f"--set {change}: {part} is no table")
    table[last] = _value(text.strip())


def _value(text: str) -> Any:
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except (tomllib.TOMLDecodeError, KeyError, RecursionError):
        return text


def _table(kind: type[T], table: Any, at: str) -> T:
    if not isinstance(table, dict):
        raise _Fault(f"{at} must be a table; got {table!r}")
    types_of = get_type_hints(kind, include_extras=True)
    for name in table:
        if name not in types_of:
            near = difflib.get_close_matches(name, types_of, n=1)
            hint = f"did you mean {near[0]!r}? " if near else ""
            raise _Fault(f"unknown key {_key(at, name)}; {hint}keys here are {', '.join(types_of)}")
    values = {name: _read(types_of[name], value, _key(at, name)) for name, value in table.items()}
    for field in dataclasses.fields(kind):  # type: ignore[arg-type]  # a dataclass, as documented
        required = field.default is field.default_factory is dataclasses.MISSING
        if required and field.name not in values:
            raise _Fault(f"{_key(at, field.name)} is missing")
    try:
        return kind(**values)
    except ValueError as error:  # of __post_init__, which names its keys
        raise _Fault(f"{at}{'.' if at else ''}{error}") from None


def _key(at: str, name: str) -> str:
    return f"{at}.{name}" if at else name


def _read(kind: Any, value: Any, at: str) -> Any:
    origin = get_origin(kind)
    if origin is Annotated:
        inner, *limits = get_args(kind)
        return _limited(_read(inner, value, at), limits, at)
    if origin in (Union, types.UnionType):
        return _read(next(part for part in get_args(kind) if part is not types.NoneType), value, at)
    if origin is Literal:
        if type(value) is not str or value not in get_args(kind):
            raise _Fault(f"{at} must be one of {', '.join(get_args(kind))}; got {value!r}")
        return value
    if origin is tuple:
        if not isinstance(value, list):
            raise _Fault(f"{at} must be a list; got {value!r}")
        return tuple(_read(get_args(kind)[0], part, f"{at}[{number}]") for number, part in enumerate(value))
    if origin in (dict, Mapping):
        if not isinstance(value, dict):
            raise _Fault(f"{at} must be a table; got {value!r}")
        return {name: _plain(part, _key(at, name)) for name, part in value.items()}
    if dataclasses.is_dataclass(kind):
        return _table(kind, value, at)  # type: ignore[arg-type]  # a class, as no value is annotated by an instance
    return _scalar(kind, value, at)


_NAMES = {bool: "true or false", int: "an integer", float: "a number", str: "a text"}


def _scalar(kind: type[Any], value: Any, at: str) -> Any:
    if kind is float and type(value) is int:
        value = float(value) if abs(value) < 2**63 else math.inf
    if type(value) is not kind:
        raise _Fault(f"{at} must be {_NAMES[kind]}; got {value!r}")
    if kind is float and not math.isfinite(value):
        raise _Fault(f"{at} must be a finite number; got {value}")
    if kind is str and "\0" in value:
        raise _Fault(f"{at} must be a text without zero bytes; got {value!r}")
    return value


def _limited(value: Any, limits: Sequence[Any], at: str) -> Any:
    for number, part in enumerate(value if isinstance(value, tuple) else (value,)):
        for limit in limits:
            expected = limit(part)
            if expected is not None:
                place = f"{at}[{number}]" if isinstance(value, tuple) else at
                raise _Fault(f"{place} must be {expected}; got {part}")
    return value


def _plain(value: Any, at: str) -> Any:
    """Return a value that JSON has, too."""
    if isinstance(value, list):
        return [_plain(part, f"{at}[{number}]") for number, part in enumerate(value)]
    if isinstance(value, dict):
        return {name: _plain(part, _key(at, name)) for name, part in value.items()}
    if type(value) not in (bool, int, float, str) or (type(value) is float and not math.isfinite(value)):
        raise _Fault(f"{at} must be a finite number, a text, true or false, a list or a table; got {value!r}")
    return value
