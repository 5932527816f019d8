"""The command ``rnnrt``: main.py runs it; a file for each of its words, or for two that belong together."""
