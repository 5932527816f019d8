"""Importers: a file or a live object of another framework -> Graph."""
