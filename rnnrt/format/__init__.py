"""The .rnnrt file, and what reading and writing any file safely takes."""
