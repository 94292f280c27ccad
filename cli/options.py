"""Options that several sub-commands have."""

from __future__ import annotations

from typing import Annotated

import typer

TargetOption = Annotated[
    str | None,
    typer.Option(
        "--target",
        "-t",
        envvar="POOLDECK_TARGET",
        help="The pooler: a URL, a connection string or its ini file. Default: the variables of libpq.",
    ),
]
