"""Shared by the tests: the commands of `alif`."""


def commands(*group):
    from typer.main import get_command

    from alif_kit.cli.main import app

    command = get_command(app)
    for name in group:
        command = command.commands[name]
    return command.commands
