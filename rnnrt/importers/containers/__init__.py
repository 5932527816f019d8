"""Readers of the hostile files that models come in: every size is checked before it is believed, and nothing
in a file is run.
"""

#: The first bytes of a zip archive that has members, and of an HDF5 file; the last of a table of LevelDB.
ZIP_SIGNATURE = b"PK\x03\x04"
HDF5_SIGNATURE = b"\x89HDF\r\n\x1a\n"
LEVELDB_END = bytes.fromhex("57fb808b247547db")
