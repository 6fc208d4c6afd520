"""Shared charts, controls and the token heat. Knows no SQL and no torch."""
