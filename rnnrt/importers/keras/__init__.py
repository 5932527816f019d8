"""Keras: files and live models as graphs; ``reader.read`` is the way in."""
