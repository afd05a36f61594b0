"""The engine: a supervisor, five modules, and the four primitives that join them.

Read `service_channels.py` (the wiring), `scheduler/placement.py` (the decision), any `service.py` (the anatomy), then
`supervisor.py`. Only `service.py` files (and the Logger's `sinks.py`)
touch the world; the others beside them are pure.
"""
