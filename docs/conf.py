"""How Sphinx builds these pages: make docs."""

import rnnrt

project, copyright = "rnnrt", "the authors of rnnrt"
release = version = rnnrt.__version__
extensions = ["myst_nb", "sphinx.ext.autodoc"]
exclude_patterns = ["_build"]
html_theme = "furo"
html_title = f"rnnrt {release}"
html_static_path = ["_static"]
html_css_files = ["pages.css"]
myst_heading_anchors = 3
nb_execution_mode = "force"  # notebooks are kept without what they print
nb_execution_raise_on_error = True
smartquotes = False  # docstrings hold code
nitpicky = True

autodoc_member_order = "bysource"
autodoc_preserve_defaults = True
autodoc_typehints = "none"  # docstrings say shapes and units, which types do not
autodoc_default_options = {"members": True}
suppress_warnings = ["misc.highlighting_failure"]  # what a command prints is not in the shell's words
