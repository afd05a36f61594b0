"""The command line `consumer`.

Read `commands/vocabulary.py` (every command in one table), `consumer.py` (the entry), `exits.py` (the exit codes), then
any file of `commands/`. Nothing but Typer is imported before a command runs: `--help` must answer at once.
"""
