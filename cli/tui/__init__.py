"""The full-screen programs of `consumer`: the menu and the two inspectors.

A screen is a pure model: keys, ticks and answers of Core go in, wishes and lines of text come out (`screens.py`). Read
`lines.py`, then `job_board.py` and `job_inspect.py`, then any other screen. Two files touch the world: `widgets.py`
(urwid: terminal, keyboard, mouse) and `feed.py` (threads that talk to Core).
"""
