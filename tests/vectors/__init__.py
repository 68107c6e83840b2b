"""Test vectors of the protocol itself, and how they are made: README.md."""
