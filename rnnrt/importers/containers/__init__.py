"""Readers of the hostile files that models come in: every size is checked before it is believed, and nothing
in a file is run.
"""
