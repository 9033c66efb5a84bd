"""`python -m tests.fuzz --seconds 3600 --seed 1`: as many inputs as fit. Fails if one of them offends."""

from __future__ import annotations

import itertools
import sys
import time
from contextlib import suppress
from pathlib import Path

import click

from tests.fuzz.campaign import Campaign

SHOWN_SECONDS = 30.0


@click.command()
@click.option("--seconds", default=60.0, help="How long, by the clock.")
@click.option("--seed", default=1, help="Repeats a run.")
@click.option("--kind", "kinds", multiple=True, type=click.Choice(("source", "ptx")), default=("source", "ptx"))
@click.option("--first", default=0, help="The number of the first input; with --count 1, only that one.")
@click.option("--count", default=sys.maxsize, help="How many of each kind at most.")
@click.option("--out", default="fuzz", type=click.Path(path_type=Path), help="Where the inputs that offend go.")
def main(seconds: float, seed: int, kinds: tuple[str, ...], first: int, count: int, out: Path) -> None:
    began = shown = time.monotonic()
    with Campaign(seed, out) as campaign, suppress(KeyboardInterrupt):  # counts what there is
        for number in itertools.islice(itertools.count(first), count):
            for kind in kinds:
                outcome = campaign.one(kind, number)
                if outcome.offence:
                    click.echo(f"{kind} {number}: {outcome.verdict}: {campaign.offences[-1]}")
            now = time.monotonic()
            if now - shown > SHOWN_SECONDS:
                shown = now
                click.echo(f"{now - began:5.0f} s: {_summary(campaign)}")
            if now - began > seconds:
                break
    click.echo(f"seed {seed}, {time.monotonic() - began:.0f} s")
    for kind in kinds:
        click.echo(f"{kind}: {campaign.counts[kind].total()}")
        for verdict, number in campaign.counts[kind].most_common():
            click.echo(f"{number:8} {verdict}")
    click.echo(f"offences: {len(campaign.offences)}" + (f", in {out}" if campaign.offences else ""))
    sys.exit(bool(campaign.offences))


def _summary(campaign: Campaign) -> str:
    done = [
        f"{kind} {counts.total()} ({', '.join(f'{verdict} {number}' for verdict, number in counts.most_common())})"
        for kind, counts in campaign.counts.items()
        if counts
    ]
    return f"{'; '.join(done)}; offences {len(campaign.offences)}"


if __name__ == "__main__":
    main()
