"""Words, rules, stores and the client that all SwarmSync programs share.

Read `model/lifecycle.py` (states), then `protocol/messages.py` (words between processes), then `store/jobs.py` (truth).
"""
