"""The spec: what a PyTorch state dict does not say, one line an operation (the language: build.py)."""
