"""Traced TorchScript as graphs."""
