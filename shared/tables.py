"""TOML files read into strict structs, with every fault of a file in one report.

An unknown key is refused with its place, the known names and the nearest of them; each top-level table is
checked by itself, so that one fault does not hide the next. What the keys mean stands in ``config``.
"""

import difflib
import tomllib
from pathlib import Path
from typing import TypeVar

import msgspec
from msgspec import Struct

from shared.errors import ConfigError

T = TypeVar("T", bound=Struct)


def read_tables(path: Path, struct: type[T]) -> T:
    """Read a TOML file as ``struct``; refuse it with every fault it has."""
    try:
        with path.open("rb") as file:
            tables = tomllib.load(file)
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}; expected a TOML file") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: not TOML: {error}") from None
    problems = _unknown_keys(tables, struct, "")
    try:
        value = msgspec.convert(tables, struct)
    except msgspec.ValidationError:
        problems += _faults(tables, struct)
        refuse(path, problems)
        raise
    refuse(path, problems)
    return value


def _faults(tables: dict[str, object], struct: type[Struct]) -> list[str]:
    """Check every top-level table by itself, so that one fault does not hide the next."""
    problems = []
    for field in msgspec.structs.fields(struct):
        if field.name not in tables:
            if field.required:
                problems.append(f'"{field.name}" is missing')
            continue
        try:
            msgspec.convert(tables[field.name], field.type)
        except msgspec.ValidationError as error:
            text = str(error).replace("$", field.name) if "$" in str(error) else f"{error} - at `{field.name}`"
            if "unknown field" not in text:
                problems.append(text)
    return problems


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


def _plain(kind: object, value: object) -> object:
    """Take the struct out of an annotated, optional or tagged type."""
    if hasattr(kind, "__metadata__"):
        kind = kind.__origin__  # type: ignore[attr-defined]  # typing gives Annotated no public class
    members = [arg for arg in getattr(kind, "__args__", ()) if isinstance(arg, type) and issubclass(arg, Struct)]
    if not isinstance(value, dict) or not members:
        return kind
    tag = value.get("type")
    tagged = [member for member in members if member.__struct_config__.tag == tag]
    return (tagged or members)[0]


def refuse(path: Path, problems: list[str]) -> None:
    """Refuse the file if it has problems, all of them together."""
    if problems:
        lines = tuple(f"{path}: {problem}" for problem in problems)
        raise ConfigError("\n".join(lines), problems=lines)
