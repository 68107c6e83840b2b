"""Fuzzing: bytes that nobody meant, for everything that takes bytes from a peer."""
