"""The HTTP API: Falcon ASGI under Gunicorn.

Read `app.py` (the routes), `endpoint.py` (from HTTP to a handler and back), `access.py` (who calls), `strict_json.py`
(what is let in), then any file of `resources/`. `problems.py` is the only mapping of errors.
"""
