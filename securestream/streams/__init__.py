"""Trio streams over the protocol. Each module wraps the one before: channel, secure, wrap."""
