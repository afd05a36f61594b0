"""What crosses a process boundary: `messages.py` (the words), `codec.py` (bytes), `subjects.py` (NATS names)."""
