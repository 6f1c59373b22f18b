"""TOML files read into strict structs, with every fault of a file in one report.

An unknown key is refused with its place, the known names and the nearest of them; each top-level table is
checked by itself, so that one fault does not hide the next. What the keys mean stands in ``config``.
"""

import difflib
import re
import tomllib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final, Literal, TypeVar

import msgspec
from msgspec import Struct

from shared.errors import ConfigError

T = TypeVar("T", bound=Struct)
#: Refuses with a ``ConfigError`` what no type can say of a table that is well-formed by itself.
Check = Callable[[Any], object]
#: One step of a place that msgspec names: ``.key`` or ``[3]``.
_STEP: Final = re.compile(r"\.(\w+)|\[(\d+)\]")


def read_tables(path: Path, struct: type[T], *, checks: Mapping[str, Check] | None = None) -> T:
    """Read a TOML file as ``struct``; refuse it with every fault it has, those that ``checks`` find by table included."""
    try:
        with path.open("rb") as file:
            tables = tomllib.load(file)
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}; expected a TOML file") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: not TOML: {error}") from None
    problems = _unknown_keys(tables, struct, "") + _nuls(tables, "")
    try:
        value = msgspec.convert(tables, struct)
    except msgspec.ValidationError:
        problems += _faults(tables, struct, checks or {})
        refuse(path, problems)
        raise
    refuse(path, problems)
    return value


def _faults(tables: dict[str, object], struct: type[Struct], checks: Mapping[str, Check]) -> list[str]:
    """Check every top-level table by itself, so that one fault does not hide the next."""
    problems = []
    for field in msgspec.structs.fields(struct):
        if field.name not in tables:
            if field.required:
                problems.append(f'"{field.name}" is missing')
            continue
        try:
            table = msgspec.convert(tables[field.name], field.type)
            if field.name in checks:
                checks[field.name](table)
        except ConfigError as error:
            problems += error.problems
        except msgspec.ValidationError as error:
            if "unknown field" not in str(error):
                problems.append(_in_our_words(str(error), field.name, tables[field.name], field.type))
    return problems


def _in_our_words(said: str, key: str, value: object, kind: object) -> str:
    """Name the key, and what would be right where the key's type knows it: the choices, or its description."""
    text, _, where = said.partition(" - at `")
    place = key + where.rstrip("`").removeprefix("$")
    for name, index in _STEP.findall(place.removeprefix(key)):
        value, kind = _inside(value, kind, name=name, index=index)
    choices = getattr(kind, "__args__", ()) if getattr(kind, "__origin__", None) is Literal else ()
    if choices:
        return f'{place} is "{value}"; known are {", ".join(str(choice) for choice in choices)}'
    for meta in getattr(kind, "__metadata__", ()):
        if isinstance(meta, msgspec.Meta) and meta.description is not None and isinstance(value, str):
            shown = "" if meta.extra and meta.extra.get("secret") else f' is "{value}"'
            return f"{place}{shown or ' cannot be'}; expected {meta.description}"
    return f"{text} - at `{place}`"


def _inside(value: object, kind: object, *, name: str, index: str) -> tuple[object, object]:
    """Step into a table's key or a list's entry, and into its type where that can be told."""
    tags = _tags(kind)
    if name == "type" and tags and isinstance(value, dict):
        return value.get(name), Literal[tags]
    kind = _plain(kind, value)
    if index and isinstance(value, list):
        (inner, *_) = [arg for arg in getattr(kind, "__args__", ()) if arg is not ...] or (None,)
        return value[int(index)], inner
    if name and isinstance(value, dict) and isinstance(kind, type) and issubclass(kind, Struct):
        types = {field.name: field.type for field in msgspec.structs.fields(kind)}
        return value.get(name), types.get(name)
    return None, None


def _unknown_keys(tables: object, kind: object, where: str) -> list[str]:
    """Name every key that no struct knows, with the known ones beside it."""
    problems: list[str] = []
    if isinstance(tables, list):
        (inner, *_) = [arg for arg in getattr(kind, "__args__", ()) if arg is not ...] or (None,)
        inner = getattr(inner, "__origin__", inner)
        for index, entry in enumerate(tables):
            problems += _unknown_keys(entry, inner, f"{where}[{index}]")
    if not isinstance(tables, dict) or not (isinstance(kind, type) and issubclass(kind, Struct)):
        return problems
    fields = {field.name: field.type for field in msgspec.structs.fields(kind)}
    for key, value in tables.items():
        place = f"{where}.{key}" if where else key
        if key in fields:
            problems += _unknown_keys(value, _plain(fields[key], value), place)
        elif key != kind.__struct_config__.tag_field:
            close = difflib.get_close_matches(key, fields, n=1)
            hint = f'; did you mean "{close[0]}"?' if close else ""
            problems.append(f'"{place}" is not a known key; known keys are {", ".join(fields)}{hint}')
    return problems


def _nuls(value: object, where: str) -> list[str]:
    """Name every text with a NUL, which ends a path where it stands: what opens one raises no error of the system then."""
    if isinstance(value, dict):
        return [found for key, inner in value.items() for found in _nuls(inner, f"{where}.{key}" if where else key)]
    if isinstance(value, list):
        return [found for index, inner in enumerate(value) for found in _nuls(inner, f"{where}[{index}]")]
    return [f"{where} holds a NUL, which no path and no name has; leave it out"] if "\0" in str(value) else []


def _plain(kind: object, value: object) -> object:
    """Take the struct out of an annotated, optional or tagged type."""
    if hasattr(kind, "__metadata__"):
        kind = kind.__origin__  # type: ignore[attr-defined]  # typing gives Annotated no public class
    members = _structs(kind)
    if not isinstance(value, dict) or not members:
        return kind
    tag = value.get("type")
    tagged = [member for member in members if member.__struct_config__.tag == tag]
    return (tagged or members)[0]


def _structs(kind: object) -> list[type[Struct]]:
    return [arg for arg in getattr(kind, "__args__", ()) if isinstance(arg, type) and issubclass(arg, Struct)]


def _tags(kind: object) -> tuple[str, ...]:
    """Name the kinds among which a table's ``type`` chooses; none where it does not."""
    configs = [member.__struct_config__ for member in _structs(kind)]
    return tuple(str(config.tag) for config in configs if config.tag_field == "type")


def refuse(path: Path, problems: list[str]) -> None:
    """Refuse the file if it has problems, all of them together."""
    if problems:
        lines = tuple(f"{path}: {problem}" for problem in problems)
        raise ConfigError("\n".join(lines), problems=lines)
