"""TFLite files: see reader.py."""
