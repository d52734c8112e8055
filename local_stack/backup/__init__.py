"""Backups of a stack: one archive with its databases and files, and the way back.

`archive.py` is the file, `contents.py` what a sales database must hold, `programs.py` pg_dump and
pg_restore. `saving.py` makes an archive, `restoring.py` puts one in place; both take addresses, so
that they serve containers (`__main__.py`) as well as the embedded stack (`embedded.py`).
"""
