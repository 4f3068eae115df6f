"""Replace `{playable} glow/digits` on a page by the page of `flowkit play glow/digits`, in a frame.

The build runs the command with `--out` in a separate process, and stores its folder with the other files of the site.
The command downloads its runtime from npm once, or uses a stored copy. Without the runtime the site is still built, and
the page names the missing part. Any other failure means that the command is broken, and ends the build.
"""

import re
import subprocess
import sys
import tempfile
from pathlib import Path

FOLDER = "playable"
_PLAYABLE = re.compile(r"^```\{playable\} (\S+)\n```$", re.MULTILINE)

# Browsers do not run modules from files, and know the height of a frame only after loading it.
_FRAME = """\
```{{raw}} html
<p><a class="reference external" href="{address}">Open the page alone</a></p>
<iframe class="playable" src="{address}" title="Latent space of {name}" loading="lazy" allow="clipboard-write"></iframe>
<p class="playable" hidden>Browsers run a flow only on a page from a server. For a folder on your disk start one with
  <code>python -m http.server -d site</code>.</p>
<script>
  (() => {{
    const frame = document.querySelector("iframe.playable"), words = document.querySelector("p.playable");
    if (location.protocol === "file:") {{ frame.remove(); words.hidden = false; return; }}
    frame.addEventListener("load", () => {{
      const inside = frame.contentDocument.body;
      new ResizeObserver(() => {{ frame.style.height = `${{inside.offsetHeight + 4}}px`; }}).observe(inside);
    }});
  }})();
</script>
```"""

_MISSING = """\
:::{{note}}
This build has no page, because it could not download onnxruntime-web, the runtime of the page.
With a network, run `flowkit play {name}`.
:::"""


def expand(app, page, source):
    """Replace each `{playable}` by a frame, or by the reason for its absence."""

    def framed(found):
        name = found[1]
        folder = Path(app.outdir) / FOLDER / name.replace("/", "-")
        try:
            write(name, folder)
        except ConnectionError as error:
            print(f"{page}: no page of {name}: {error}", file=sys.stderr)
            return _MISSING.format(name=name)
        up = "../" * page.count("/")
        return _FRAME.format(name=name, address=f"{up}{FOLDER}/{folder.name}/index.html")

    source[0] = _PLAYABLE.sub(framed, source[0])


def write(name, folder):
    """Run `flowkit play NAME --out FOLDER`. Raises ConnectionError if the runtime cannot be downloaded."""
    from flowkit.play.folder import copy_runtime

    with tempfile.TemporaryDirectory() as ort:
        copy_runtime(Path(ort))
        command = [sys.executable, "-m", "flowkit", "play", name, "--out", str(folder), "--ort", ort]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"flowkit play {name} failed: {done.stderr or done.stdout}")


def setup(app):
    app.connect("source-read", expand)
    return {"parallel_read_safe": True}
