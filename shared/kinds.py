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
#: Where others answer. Somebody may have written a password into it, so a wrong one is not repeated.
Host = Annotated[
    str,
    Meta(
        pattern=r"^([^\s/@:]{1,253}|[0-9a-fA-F:.]{2,45})\Z",
        description="a name or an address alone, without scheme, port and credentials",
        extra={"secret": True},
    ),
]
#: What is taken from the store is named behind it: a ? or # would swallow that, and may stand before a token.
StoreUrl = Annotated[
    str,
    Meta(
        pattern=(
            r"^([hH][tT][tT][pP][sS]?://(?:\[[0-9a-fA-F:.]{2,45}\]|[^\s/@:?#\[\]%]{1,253})"
            r"(?::(?:[0-9]{1,4}|[1-5][0-9]{4}|6[0-4][0-9]{3}|65[0-4][0-9]{2}|655[0-2][0-9]|6553[0-5]))?"
            r'(?:/[!"$->A-~]{0,2000})?'
            r"|[fF][iI][lL][eE]://(?:localhost)?/(?!.*%00)[^\n\0?#]{0,2000})\Z"
        ),
        description="an address as http://host, https://host or file:///folder, without credentials, ? and #",
        extra={"secret": True},
    ),
]
Colour = Annotated[str, Meta(pattern=r"^#[0-9a-fA-F]{6}$", description="a colour as #rrggbb")]


class Table(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One table of a file: frozen, and a misspelt key is an error rather than a default."""
