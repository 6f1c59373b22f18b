"""``winnow trainer``: the commands of the centre. Nothing heavy is imported before a command runs."""

import typer

from trainer.commands.gate import gate
from trainer.commands.labels import app as labels_app
from trainer.commands.rounds import app as rounds_app
from trainer.commands.serve import serve
from trainer.commands.space import app as space_app
from trainer.commands.status import status

app = typer.Typer(
    help="Serve the centre; select, train, export, exchange labels.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
app.command("serve")(serve)
app.command("status")(status)
app.command("gate")(gate)
app.add_typer(labels_app, name="labels")
app.add_typer(space_app, name="space")
# Without a name its commands (select, train, export, round) stand beside ours.
app.add_typer(rounds_app)
