"""Replace `{commands}` on a page by the help of every command of `flowkit`."""

import os
import re

os.environ["TYPER_USE_RICH"] = "0"  # plain text; typer reads it on import
_COMMANDS = re.compile(r"^```\{commands\}\n```$", re.MULTILINE)


def help_of(name):
    """Return the text of `flowkit NAME --help`."""
    from typer.testing import CliRunner

    from flowkit.app.commands import command_line

    app = command_line(name)
    app.rich_markup_mode = None
    done = CliRunner(env={"COLUMNS": "88", "TERMINAL_WIDTH": "88"}).invoke(
        app, [name, "--help"], prog_name="flowkit"
    )
    if done.exit_code:
        raise RuntimeError(f"flowkit {name} --help failed: {done.output}")
    return done.output.strip()


def expand(app, page, source):
    def all_commands(found):
        from flowkit.app.commands import COMMANDS

        return "\n\n".join(f"### flowkit {name}\n\n```text\n{help_of(name)}\n```" for name in COMMANDS)

    source[0] = _COMMANDS.sub(all_commands, source[0])


def setup(app):
    app.connect("source-read", expand)
    return {"parallel_read_safe": True}
