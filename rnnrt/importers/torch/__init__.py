"""PyTorch: files, state dicts and live modules as graphs; ``reader.read`` is the way in. The framework is
imported only where a live module was given.
"""
