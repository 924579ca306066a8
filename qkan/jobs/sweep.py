"""`qkan sweep`: a study of Optuna over any keys of a configuration, that goes on where it was stopped."""

import argparse
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from qkan.files import replace_atomically, write_csv, write_json
from qkan.history import larger_is_better
from qkan.jobs.config import Config, Count, read
from qkan.jobs.run import run
from qkan.jobs.typed import Between, from_toml

if TYPE_CHECKING:
    from optuna import Study, Trial
    from optuna.trial import FrozenTrial

__all__ = ["Parameter", "Sweep", "add_command", "command", "sweep"]


@dataclass(frozen=True)
class Parameter:
    """A key of the configuration, and what it may be: numbers from `low` to `high`, or one of `choices`.

    Args:
        key: such as `optimizer.lr`.
        low: the smallest number.
        high: the largest number.
        log: whether numbers are drawn by their logarithm.
        integer: whether they are integers.
        choices: texts that `--set` takes.
    """

    key: str
    low: float | None = None
    high: float | None = None
    log: bool = False
    integer: bool = False
    choices: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        numbers = self.low is not None and self.high is not None
        if numbers == bool(self.choices) or (self.low is None) != (self.high is None):
            raise ValueError(f"key {self.key!r} must have low and high, or choices")
        if self.low is not None and self.high is not None:
            if not self.low < self.high or (self.log and self.low <= 0):
                raise ValueError(
                    f"low must be smaller than high, and larger than 0 with log; got {self.low}, {self.high}"
                )
            if self.integer and (self.low % 1 or self.high % 1 or (self.log and self.low < 1)):
                raise ValueError(f"low and high of an integer must be integers; got {self.low}, {self.high}")


@dataclass(frozen=True)
class Sweep:
    """A study.

    Args:
        config: the configuration of its jobs, a path beside this file.
        parameters: what is varied.
        out: the folder that it writes.
        trials: how many jobs.
        metric: of the history; the best epoch of a job counts.
        direction: `auto` takes losses and times to be better where smaller, all else where larger.
        sampler: of Optuna.
        seed: of the sampler.
    """

    config: str
    parameters: tuple[Parameter, ...]
    out: str = "runs/sweep"
    trials: Count = 20
    metric: str = "test_loss"
    direction: Literal["auto", "minimize", "maximize"] = "auto"
    sampler: Literal["tpe", "random"] = "tpe"
    seed: Annotated[int, Between(0, 2**31)] = 0

    def __post_init__(self) -> None:
        keys = [parameter.key for parameter in self.parameters]
        if not keys or len({*keys}) < len(keys):
            raise ValueError(f"parameters must be keys, at least one and none twice; got {', '.join(keys) or 'none'}")

    @property
    def largest(self) -> bool:
        """Whether larger values are better."""
        return larger_is_better(self.metric) if self.direction == "auto" else self.direction == "maximize"


def add_command(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add `sweep` to the subcommands of a parser."""
    parser = commands.add_parser(
        "sweep",
        help="search for the best values of keys of a configuration",
        description="Run the jobs of a study (TOML, see docs/train.md) one after the other, and write trials.csv, "
        "results.json and trials.png. A study that was stopped goes on when it is started again.",
    )
    parser.add_argument("config", type=Path, metavar="CONFIG", help="a TOML file")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", dest="changes", help="of the study")
    parser.add_argument("--trust-code", action="store_true", help="as for train")
    parser.set_defaults(run=command)


def command(options: argparse.Namespace) -> int:
    """Run a study, print its best trials, and return the exit status: 1 if every trial failed.

    Raises:
        ValueError, OSError, ImportError: see `sweep`.
    """
    settings = from_toml(Sweep, options.config, options.changes)
    rows = sweep(settings, options.config.parent, options.trust_code)
    print(_text(rows, settings))
    print(f"written: {Path(settings.out)}")
    return int(all(row["value"] is None for row in rows))


def sweep(settings: Sweep, beside: Path, trust: bool = False) -> list[dict[str, Any]]:
    """Run the trials that a study still lacks, and return a row for each, the best one first.

    Args:
        settings: the study.
        beside: the folder that `settings.config` is relative to.
        trust: as in `qkan.jobs.run.run`.

    Raises:
        ValueError: a key at fault, or a study of other settings in the folder.
        OSError, ImportError: the folder cannot be written; Optuna or another library is missing.
    """
    file, out = beside / settings.config, Path(settings.out)
    read(file)
    study = _study(settings, out)
    _take_up(study)
    while len(_finished(study)) < settings.trials:
        study.sampler = _sampler(settings, len(study.trials))
        trial = study.ask()
        try:
            _try(trial, settings, file, out, study, trust)
        finally:
            _write(study, settings, out)
    return _write(study, settings, out)


def _try(trial: "Trial", settings: Sweep, file: Path, out: Path, study: "Study", trust: bool) -> None:
    """Run one job; one that diverges, or whose configuration is refused, is a failed trial."""
    from optuna.trial import TrialState

    changes = [f"{parameter.key}={_drawn(trial, parameter)}" for parameter in settings.parameters]
    folder = _folder(trial)
    trial.set_user_attr("folder", folder)
    try:
        config: Config = replace(read(file, changes), out=str(out / folder))
        history = run(config, resume=True, trust=trust).history
        study.tell(trial, history.best(settings.metric, settings.largest)[settings.metric])
    except (ValueError, FloatingPointError) as error:
        trial.set_user_attr("error", " ".join(str(error).split()))
        study.tell(trial, state=TrialState.FAIL)


def _drawn(trial: "Trial", parameter: Parameter) -> str:
    """Return a value as `--set` takes it."""
    if parameter.low is None or parameter.high is None:
        return str(trial.suggest_categorical(parameter.key, parameter.choices))
    if parameter.integer:
        return str(trial.suggest_int(parameter.key, int(parameter.low), int(parameter.high), log=parameter.log))
    return repr(trial.suggest_float(parameter.key, parameter.low, parameter.high, log=parameter.log))


def _study(settings: Sweep, out: Path) -> "Study":
    """Open the study of a folder, or begin it."""
    optuna = _optuna()
    out.mkdir(parents=True, exist_ok=True)
    journal = optuna.storages.journal
    storage = optuna.storages.JournalStorage(journal.JournalFileBackend(str(out / "study.log")))
    study: Study = optuna.create_study(
        storage=storage,
        study_name="sweep",
        direction="maximize" if settings.largest else "minimize",
        load_if_exists=True,
    )
    told = repr((settings.parameters, settings.metric, settings.largest))
    if study.user_attrs.get("settings", told) != told:
        raise ValueError(f"{out} holds a study of other parameters or another metric: name another folder as out")
    study.set_user_attr("settings", told)
    return study


def _optuna() -> Any:
    try:
        import optuna
    except ImportError as error:
        raise ImportError('qkan sweep needs Optuna: pip install "qkan-torch[train,sweep]"') from error
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    return optuna


def _sampler(settings: Sweep, number: int) -> Any:
    """Return a sampler whose draws depend on the trials before it alone, and not on a stop in between."""
    samplers = _optuna().samplers
    seed = settings.seed + number
    return samplers.TPESampler(seed=seed) if settings.sampler == "tpe" else samplers.RandomSampler(seed=seed)


def _take_up(study: "Study") -> None:
    """Have a trial that was interrupted run again, with its values and in its folder, where its job goes on."""
    from optuna.trial import TrialState

    for trial in study.get_trials(states=(TrialState.RUNNING,)):
        study.tell(trial.number, state=TrialState.FAIL)
        study.enqueue_trial(trial.params, user_attrs={"folder": _folder(trial)})


def _folder(trial: "Trial | FrozenTrial") -> str:
    """Return where a trial writes: one that was taken up again, where it began."""
    return str(trial.user_attrs.get("folder", f"trial-{trial.number:04d}"))


def _finished(study: "Study") -> list["FrozenTrial"]:
    """Return the trials that ended by themselves: with a value, or refused."""
    return [trial for trial in study.trials if trial.value is not None or "error" in trial.user_attrs]


def _write(study: "Study", settings: Sweep, out: Path) -> list[dict[str, Any]]:
    rows = [
        {"trial": trial.user_attrs["folder"], "value": trial.value, **trial.params}
        | {"error": trial.user_attrs.get("error", "")}
        for trial in _finished(study)
    ]
    sign = -1 if settings.largest else 1
    rows.sort(key=lambda row: math.inf if row["value"] is None else sign * row["value"])
    keys = [parameter.key for parameter in settings.parameters]
    write_csv(out / "trials.csv", ["trial", "value", *keys, "error"], rows)
    write_json(out / "results.json", {"metric": settings.metric, "largest": settings.largest, "trials": rows})
    _draw(rows, settings, keys, out)
    return rows


def _draw(rows: Sequence[Mapping[str, Any]], settings: Sweep, keys: Sequence[str], out: Path) -> None:
    from qkan.plot import trial_panels

    valued = [row for row in rows if row["value"] is not None]
    if not valued:
        return
    figure = trial_panels(valued, keys, settings.metric, [p.key for p in settings.parameters if p.log])
    with replace_atomically(out / "trials.png") as file:
        figure.savefig(file, format="png", dpi=120)


def _text(rows: Sequence[Mapping[str, Any]], settings: Sweep) -> str:
    lines = [f"{'trial':12}{settings.metric:>12}  parameters"]
    for row in rows[:10]:
        value = "failed" if row["value"] is None else f"{row['value']:.5g}"
        told = ", ".join(f"{p.key} {_short(row.get(p.key))}" for p in settings.parameters)
        lines.append(f"{row['trial']:12}{value:>12}  {told}")
    return "\n".join(lines)


def _short(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
