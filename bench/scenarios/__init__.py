"""One module per scenario; each has `measure(quick) -> dict` and says in its docstring what its figures mean."""
