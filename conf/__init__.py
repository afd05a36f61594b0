"""Settings of all programs: `settings.py` reads them once, `swarmsync.toml` shows every key with its default."""
