"""Thresholds and subsets: which samples an epoch trains on. Arrays in, arrays out."""
