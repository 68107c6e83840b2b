"""Secure streams for Trio."""
