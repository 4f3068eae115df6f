"""Build the documentation with `make docs`. The build runs every Python block and works without a network.

It downloads one thing if possible: the runtime of the page in the browser (`_ext/playable.py`).
"""

import os
import sys
from pathlib import Path

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE / "_ext"))

# Set before Keras is imported, here and in the kernels that run the pages.
os.environ.setdefault("KERAS_BACKEND", "jax")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "0")  # avoids a notice on each page
os.environ.setdefault("JAX_PLATFORMS", "cpu")
os.environ["MATPLOTLIBRC"] = str(HERE / "_style" / "matplotlibrc")

from picture_time import slower  # noqa: E402

import flowkit  # noqa: E402, after the variables that it reads

project = "flowkit"
author = "the flowkit authors"
version = release = flowkit.__version__
html_title = f"flowkit {release}"

extensions = [
    "myst_nb",
    "sphinx.ext.autodoc",
    "sphinx.ext.mathjax",
    "sphinx.ext.napoleon",
    "sphinx.ext.viewcode",
    "sphinx_copybutton",
    "sphinx_design",
    "sphinx_gallery.gen_gallery",
    "bars",
    "cards",
    "commands",
    "cells",
    "docstrings",
    "lessons",
    "playable",
    "rooms",
    "signatures",
]
exclude_patterns = ["_ext", "_style", "pictures", "gallery/*.ipynb", "gallery/*.py", "gallery/*.zip"]
templates_path = ["_templates"]

# Pages ---------------------------------------------------------------------------------------------------------

myst_enable_extensions = ["attrs_inline", "colon_fence", "deflist", "dollarmath"]
myst_heading_anchors = 4
suppress_warnings = ["misc.highlighting_failure"]  # outputs are not always Python

nb_execution_mode = "force"  # cached outputs may be outdated
nb_execution_in_temp = True
nb_execution_timeout = round(240 * slower())  # seconds for a cell
nb_execution_raise_on_error = True
# Each needs its backend: tests/test_pages.py runs both.
nb_execution_excludepatterns = ["jax-loop.md", "torch-loop.md"]
nb_execution_show_tb = True
nb_merge_streams = True
nb_number_source_lines = False

# Blocks on these pages do not run; those on all other pages are cells.
pages_without_cells = {
    "architecture": "it has no code to run",
    "changelog": "it only quotes code",
    "peers": "it needs the other libraries",
    "porting": "it needs the weights of other models",
}

# API -----------------------------------------------------------------------------------------------------------

autodoc_member_order = "bysource"
autodoc_inherit_docstrings = False  # Keras's docstrings do not mention flows
autodoc_typehints = "signature"
autodoc_typehints_format = "short"
autodoc_default_options = {"members": True, "show-inheritance": True}
add_module_names = False
toc_object_entries_show_parents = "hide"
maximum_signature_line_length = 88
python_use_unqualified_type_names = True

# Gallery -------------------------------------------------------------------------------------------------------

sphinx_gallery_conf = {
    "examples_dirs": "pictures",
    "gallery_dirs": "gallery",
    "filename_pattern": r"/plot_",
    "run_stale_examples": True,
    "reset_modules": ("picture_time.timed", "picture_start.plain_start"),
    "reset_modules_order": "both",
    "within_subsection_order": "FileNameSortKey",
    "matplotlib_animations": False,
    "min_reported_time": 1,
    "show_memory": False,
    "show_signature": False,
    "write_computation_times": False,
    "remove_config_comments": True,
    "download_all_examples": False,
    "capture_repr": (),
    "image_srcset": ["2x"],
    "thumbnail_size": (400, 280),
}

# Looks ---------------------------------------------------------------------------------------------------------

html_theme = "furo"
html_static_path = ["_static"]
html_css_files = ["flowkit.css"]
html_copy_source = False
smartquotes = False  # keep quotes in signatures and formulas unchanged
html_show_sourcelink = False
html_show_sphinx = False
html_show_copyright = False
html_theme_options = {"navigation_with_keys": True, "top_of_page_buttons": []}
mathjax_path = "mathjax/tex-svg.js"
copybutton_prompt_text = r">>> |\.\.\. |\$ "
copybutton_prompt_is_regexp = True
copybutton_exclude = ".linenos, .gp, .go"
