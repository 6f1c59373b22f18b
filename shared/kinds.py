"""The kinds of values that a configuration holds, each with its bounds."""

from typing import Annotated

from msgspec import Meta, Struct

Share = Annotated[float, Meta(ge=0.0, le=1.0)]
Positive = Annotated[float, Meta(gt=0.0, le=1e12)]
Count = Annotated[int, Meta(ge=1, le=10_000_000)]
#: In steps; 0 is never.
Interval = Annotated[int, Meta(ge=0, le=10_000_000)]
Port = Annotated[int, Meta(ge=1, le=65535)]
Name = Annotated[
    str,
    Meta(
        pattern=r"^[a-z0-9]([a-z0-9_-]{0,38}[a-z0-9])?$",
        description="1 to 40 of a-z 0-9 _ -, beginning and ending with a letter or digit",
    ),
]
#: Where others answer; a password that somebody writes into it must not go on from here into logs.
Host = Annotated[
    str, Meta(pattern=r"^[^\s/@]{1,253}$", description="a name or an address alone, without a scheme and credentials")
]
StoreUrl = Annotated[
    str,
    Meta(
        pattern=r"^(https?|file)://[^\s@]{1,2000}$",
        description="an address as http://, https:// or file://, without credentials",
    ),
]
Colour = Annotated[str, Meta(pattern=r"^#[0-9a-fA-F]{6}$", description="a colour as #rrggbb")]


class Table(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One table of a file: frozen, and a misspelt key is an error rather than a default."""
