"""Captures as JSON for RTNeural, AIDA-X and GuitarML's players as graphs; ``reader.read`` is the way in."""
