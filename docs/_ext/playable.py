"""`{playable} glow/digits` on a page becomes the page of `flowkit play glow/digits`, in a frame.

Its folder is what the command writes with `--out`, made anew in a process of its own while the documentation is built,
and lies with the other files of the site. Its runtime comes from npm: kept from an earlier time, or downloaded once.
Where it cannot be had the site is built all the same, since nothing else on it needs a network, and the page says what
is missing. Whatever else fails, ends the build: then the command is broken.
"""

import re
import subprocess
import sys
import tempfile
from pathlib import Path

FOLDER = "playable"
_PLAYABLE = re.compile(r"^```\{playable\} (\S+)\n```$", re.MULTILINE)

# A browser runs no modules from files, and asks a frame for its height only when it knows what is in it.
_FRAME = """\
```{{raw}} html
<p><a class="reference external" href="{address}">The page by itself</a></p>
<iframe class="playable" src="{address}" title="Latent space of {name}" loading="lazy" allow="clipboard-write"></iframe>
<p class="playable" hidden>Browsers run a flow only on a page that comes from a server. Of a site that is a folder on
  your disk <code>python -m http.server -d site</code> is one.</p>
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
The page itself is not here: onnxruntime-web, which runs it, could not be had where this site was built.
With a network `flowkit play {name}` shows it.
:::"""


def expand(app, page, source):
    """Put a frame, or the reason why there is none, in the place of each `{playable}`."""

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
    """`flowkit play NAME --out FOLDER`. Raises ConnectionError if the runtime cannot be had."""
    from flowkit.play import runtime

    with tempfile.TemporaryDirectory() as ort:
        runtime.copy_runtime(Path(ort))
        command = [sys.executable, "-m", "flowkit", "play", name, "--out", str(folder), "--ort", ort]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"flowkit play {name} failed: {done.stderr or done.stdout}")


def setup(app):
    app.connect("source-read", expand)
    return {"parallel_read_safe": True}
