"""A Core in one file: what it holds is written (`taking.py`), read back and restored (`restoring.py`).

Read `archive.py` first: it is the file's format, and how a file that was cut or changed is told from a whole one.
"""
