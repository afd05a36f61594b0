"""What becomes of calls: of a statement, or of a message. Each name has a list of its own, used up in order."""

#: Done; refused, and not done; never answered, and not done; done, and the caller hears that it failed.
DONE, REFUSED, LOST, SILENT = "done", "refused", "lost", "silent"
#: The ways to fail.
FAILURES = (REFUSED, LOST, SILENT)
