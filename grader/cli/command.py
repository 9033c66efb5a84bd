"""The `grade` command: finds the verb, and turns every outcome into an exit status.

A verb is loaded only when it is called, so that `grade run` starts fast.
"""

from __future__ import annotations

import difflib
import errno
import importlib
import os
import sys

import click
from click.shell_completion import CompletionItem

from grader import __version__
from grader.cli.exits import ERROR, INTERRUPTED, USAGE
from grader.cli.streams import give_up_stdout, say
from grader.errors import GraderError, UsageError, at_fault

# By verb: the module of grader.cli that holds a click command of that name, and its line in --help.
VERBS = {
    "run": "Grade a submission.",
    "watch": "Grade at every save, with hints.",
    "hint": "Show the next hint of an exercise.",
    "list": "List the exercises and your progress.",
    "start": "Copy the exercises into a folder of your own.",
    "reset": "Restore an exercise's original starter.cu.",
    "batch": "Grade a class and write its gradebook.",
    "points": "Give a student points by hand.",
    "ledger": "Look into a batch: who got what, and why.",
    "gradebook": "Join the gradebooks of several exercises.",
    "export": "Write a batch's grades for Canvas, Moodle or Gradescope.",
    "serve": "Grade what students send with grade run --host.",
    "gradescope": "Build a Gradescope autograder for an exercise.",
    "classroom50": "Build a Classroom 50 autograder for an exercise.",
    "ci": "Grade the submissions that a change touches.",
    "doctor": "Show what this machine can judge and what to install.",
    "verify": "Check an exercise's own files (for authors).",
    "new": "Create a new exercise (for authors).",
    "report": "Turn a --json file into an HTML report.",
    "completion": "Complete commands and exercise names in your shell.",
}


# What a machine runs out of.
NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.ENOMEM, errno.EMFILE, errno.ENFILE)


class _Verbs(click.Group):
    """Lists all verbs without importing them."""

    def list_commands(self, _: click.Context) -> list[str]:
        return list(VERBS)

    def get_command(self, _: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in VERBS:
            return None
        module = importlib.import_module(f"grader.cli.{cmd_name}")
        command: click.Command = module.command
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        try:
            return super().resolve_command(ctx, args)
        except click.UsageError as error:
            near = difflib.get_close_matches(args[0], VERBS, 1)
            meant = f" Did you mean: grade {near[0]}?" if near else ""
            raise click.UsageError(error.format_message() + meant, ctx) from None

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        verbs = [CompletionItem(verb, help=line) for verb, line in VERBS.items() if verb.startswith(incomplete)]
        return verbs or super().shell_complete(ctx, incomplete)

    def format_commands(self, _: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(VERBS.items()))


@click.group(cls=_Verbs, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 80})
@click.version_option(__version__, prog_name="grade")
def grade() -> None:
    """Grade CUDA kernel exercises, with or without a GPU.

    \b
    grade start my-kernels       copy the exercises into a folder of your own
    grade watch 1                grade your starter.cu of exercise 1 at every save
    grade run 1                  grade it once; or another file: grade run 1 k.cu
    grade list                   list the exercises and your progress

    Each exercise has a problem.md, which describes the task. A finding names the line in your file, and the section
    of problem.md that explains it. grade VERB --help shows options and exit statuses.
    """


def invoke(arguments: list[str]) -> int:
    """Runs one command and returns its exit status."""
    color = False if os.environ.get("NO_COLOR") else None  # click ignores it
    try:
        status = grade.main(arguments, prog_name="grade", standalone_mode=False, color=color)
        sys.stdout.flush()
        return status if isinstance(status, int) else 0
    except BrokenPipeError:
        give_up_stdout()
        return 0
    except (KeyboardInterrupt, click.Abort):
        say("interrupted")
        return INTERRUPTED
    except click.exceptions.NoArgsIsHelpError as error:
        click.echo(error.format_message(), err=True)
        return USAGE
    except click.ClickException as error:
        return _refused(error)
    except UsageError as error:
        say(str(error))
        return USAGE
    except GraderError as error:
        say(str(error))
        return ERROR
    except Exception as error:
        if isinstance(error, OSError) and error.errno in NO_ROOM:
            give_up_stdout()
            say(": ".join(filter(None, [str(error.filename or ""), os.strerror(error.errno)])))
            return ERROR
        if isinstance(error, FileNotFoundError) and error.filename is None:  # of os.getcwd
            say("the current folder no longer exists; cd to another one")
            return USAGE
        if os.environ.get("GRADE_TRACEBACK"):
            raise
        say(f"internal error at {at_fault(error)}\nPlease report it with the traceback: set GRADE_TRACEBACK=1.")
        return ERROR


def _refused(error: click.ClickException) -> int:
    context = getattr(error, "ctx", None)
    say(error.format_message() + (f"\nTry: {context.command_path} --help" if context else ""))
    return USAGE
