"""The axes of a traced program's tensors, whatever framework it was written in: what its values are, and the
operators that only move axes or pick parts.
"""
