"""Neural Amp Modeler: .nam files as graphs; ``reader.read`` is the way in."""
