"""One file per noun or group of verbs; `vocabulary.py` lists them all.

A file has one Typer app, `app`; a command is built only when it is called or its own help is asked for.
"""
