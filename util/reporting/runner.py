"""``make figures`` and ``make paper``: the scripts in the paper's order, then notebooks, summary and report.

A script publishes its record whole or not at all, and a whole record of the same settings is kept. So a run that was
stopped goes on where it was. Only one run at a time works in a folder.
"""

import json
import sys
import traceback
from collections.abc import Mapping
from pathlib import Path

from filelock import FileLock, Timeout

from .. import cli, published, records
from ..errors import UserError, reason
from ..files import replacing
from . import comparisons, notebooks, report
from .steps import FOLDERS, Options, Step, in_words

LOCK, SUMMARY = "run.lock", "summary.csv"
"""In the output folder: held while a run works there; every published number."""
NOTEBOOK_SECONDS = 60


def run(options: Options) -> Path:
    """Keeps or makes every record, then writes the notebooks, the summary and the report, whose path it gives.

    A ``UserError`` names, at the end, every step and notebook that failed.
    """
    output, chosen, failed = Path(options.output), options.chosen(), {}
    _keep_other_presets(options)
    try:
        output.mkdir(parents=True, exist_ok=True)
        lock = FileLock(output / LOCK, timeout=0).acquire()  # the system lets go of it when the process ends in any way
    except Timeout as error:
        raise UserError(f"{output}: another run is at work there; wait for it") from error
    except OSError as error:
        raise UserError(f"{output}: cannot be written ({error.strerror}); choose another --output") from error
    with lock:
        published.fetch_all()
        for place, step in enumerate(chosen):
            line = f"[{place + 1}/{len(chosen)}] {step.title}"
            if options.preset == "embedded":
                left = sum(each.seconds for each in chosen[place:]) + NOTEBOOK_SECONDS
                line += f", about {in_words(step.seconds)}, {in_words(left)} left"
            cli.say(line)
            try:
                perform(step, options)
            except (Exception, SystemExit) as error:  # a script may be broken in any way; the others go on
                if not isinstance(error, UserError):
                    cli.say(traceback.format_exc())
                failed[step.name] = reason(error, most=300)
                cli.say(f"[{step.name}] FAILED: {failed[step.name]}")
        problems = _notebooks(options) + _summary(output, failed)
    if failed:
        told = "; ".join(f"{name} ({why})" for name, why in failed.items())
        problems.insert(0, f"{len(failed)} of {len(chosen)} steps failed: {told}")
    if problems:
        problems.append("the same command goes on from here")
        raise UserError("; ".join(problems))
    return output / "report.html"


def _keep_other_presets(options: Options) -> None:
    """Refuses a folder where a step would write over a record of another preset."""
    for step in options.chosen():
        path = Path(options.output) / step.folder / f"{step.name}.json"
        try:
            there = json.loads(path.read_text())["settings"]["preset"]
        except (OSError, ValueError, LookupError, TypeError):
            continue  # none, or a damaged one, which is made again
        if there != options.preset:
            other = Path(options.output) / options.preset
            raise UserError(f"{path} is of the {there} preset, and would be lost; give another --output, as {other}")


def perform(step: Step, options: Options) -> None:
    """Keeps the record of a step, or runs its script in this process."""
    module, arguments, settings = read(step, options)
    kept, why = look(step, settings, options)
    if kept:
        told = ["made by other code"] if kept.about.get("code") != records.code(step.name) else []
        if left_out := kept.about["left_out"]:
            told.append(f"left out in it: {'; '.join(left_out)}; --only {step.name} --again tries again")
        cli.say("; ".join([f"[{step.name}] kept: its record is there", *told]))
        return
    cli.say(f"[{step.name}] {why}; running it")
    before = sys.argv
    try:
        sys.argv = [str(step.script), *arguments]  # the command line that the record holds
        module.run(settings)
    finally:
        sys.argv = before


def read(step: Step, options: Options) -> tuple:
    """The script of a step as a module, the words of its command line, and the settings that they give."""
    module, preset = step.load(), options.preset
    short = getattr(module, "SHORT", {}) if preset == "embedded" else {}  # a short version, where the script has one
    given = {**short, "output": Path(options.output).resolve() / step.folder, "device": options.device}
    if options.coco and options.photographed(step):
        given["coco"] = Path(options.coco).resolve()
    words = ["--preset", preset]
    for name, value in given.items():
        if value != getattr(module.PRESETS[preset], name):
            words += [f"--{name.replace('_', '-')}", *map(str, value if isinstance(value, tuple) else (value,))]
    return module, words, cli.parse(module.PRESETS, module.__doc__ or "", words)


def look(step: Step, settings: cli.Common, options: Options) -> tuple[records.Record | None, str]:
    """The record of a step that is kept, or None and why it is to be made.

    What took days stays although code changed since, so the paper's record may be of any code.
    """
    if options.again:
        return None, "asked for again"
    return records.matching(settings.output, step.name, settings, any_code=options.preset == "paper")


def _notebooks(options: Options) -> list[str]:
    """Executes notebooks that are not there, or older than a record that they read; returns what went wrong."""
    folders = {step.folder for step in options.chosen()}
    steps = [step for step in options.steps if step.folder in folders]
    there = report.find_records(options.output, FOLDERS, damaged={})
    jobs = []
    for job in notebooks.of_records(there, options.output, steps):
        made = [path.stat().st_mtime for path in job.output.parent.glob("*.json")]
        if not job.output.is_file() or job.output.stat().st_mtime < max(made):
            jobs.append(job)
    if jobs:
        cli.say(f"[notebooks] executing {len(jobs)}, about {in_words(NOTEBOOK_SECONDS)}")
    try:
        notebooks.execute_all(jobs, options.output)
    except UserError as error:
        return [str(error)]
    return []


def _summary(output: Path, failed: Mapping[str, str]) -> list[str]:
    """Writes summary and report of all records that are whole; returns a line for each that is not."""
    damaged: dict[str, str] = {}
    found = report.find_records(output, damaged=damaged)
    table = comparisons.collect(found, {**damaged, **failed})
    with replacing(output / SUMMARY) as part:
        table.to_csv(part, index=False, float_format="%.9g")
    for row in comparisons.overview(table).to_dict("records"):
        told = [f"{row[verdict]} {verdict}" for verdict in comparisons.COUNTED if row[verdict]]
        cli.say(f"[summary] {row['figure']}: {', '.join(told)}")
    if found:
        cli.say(f"[report] open {report.write(output, damaged)}")
    return [f"{told}; it was left out of summary and report" for told in damaged.values()]
