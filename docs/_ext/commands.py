"""Replace `{commands}` on a page by the help of every command of `flowkit`: its usage, arguments and options."""

import re

_COMMANDS = re.compile(r"^```\{commands\}\n```$", re.MULTILINE)


def section(name, command):
    """Return the help of one command as Markdown."""
    usage = " ".join(command.collect_usage_pieces(command.context_class(command)))
    rows = [row for row in map(_row, command.params) if row]
    table = "\n".join(["| | |", "|---|---|", *rows])
    return f"### flowkit {name}\n\n```\nflowkit {name} {usage}\n```\n\n{command.help}\n\n{table}\n"


def _row(parameter):
    if parameter.param_type_name == "argument":
        name = parameter.metavar or parameter.name.upper()
    else:
        value = "" if parameter.is_flag else f" {parameter.metavar or parameter.type.name.upper()}"
        name = ", ".join(parameter.opts) + value
    words = " ".join((parameter.help or "").split()).replace("|", "\\|")
    return f"| `{name}` | {words} |"


def expand(app, page, source):
    def all_commands(found):
        import typer

        from flowkit.app.commands import COMMANDS
        from flowkit.app.commands import app as commands

        group = typer.main.get_command(commands)
        return "\n".join(section(name, group.commands[name]) for name in COMMANDS)

    source[0] = _COMMANDS.sub(all_commands, source[0])


def setup(app):
    app.connect("source-read", expand)
    return {"parallel_read_safe": True}
