"""Named SQL statements, one per file; the first lines say who runs it and what its parameters are."""

from functools import cache
from importlib.resources import files


@cache
def sql(name: str) -> str:
    """Return the statement in `<name>.sql`."""
    return files(__name__).joinpath(f"{name}.sql").read_text()
