"""The description of a task for the command line and run directories. Importing this module does not import torch."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

from edgernn.errors import ConfigError
from edgernn.settings import Declared, Settings, declared_options
from edgernn.tasks.score import Evaluation, Progress, RunData
from edgernn.tasks.settings import Chosen, TrainingSettings

if TYPE_CHECKING:
    from edgernn.runtime import Model
    from edgernn.tasks.learner import Learner

__all__ = ["Preset", "Task"]


@dataclass(frozen=True)
class Preset:
    """Changes to the defaults of the settings classes, for a kind of data or a size of network."""

    model: Mapping[str, Any] = field(default_factory=dict)
    training: Mapping[str, Any] = field(default_factory=dict)
    data: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Task:
    """A task: its name, settings and presets, and functions that import its training and evaluation code.

    name: of the subcommand of `train`, in `config.json` and in bundles. help, example: of that subcommand.
    sources: the metavariable and help of the subcommand's argument. default_sources: the sources if none are given.
    several: whether more than one source is accepted. extra: the package extra that training needs.
    data, model, training: settings classes, whose fields are options of `edgernn train NAME`. evaluation: a settings
    class for `edgernn evaluate`.
    presets: by name. preset_for: returns the name of the default preset for some sources, and options by field name.
    metric: the figure of a score that selects the best weights. higher_is_better: whether larger values are better.
    tunable: options of `data` and `model` that affect neither the network's weights nor its vocabulary. A run that
    starts from another one can set them, and takes all others from that run.
    learner: imports the task's training code. evaluate: evaluates a model of a run or bundle, given `evaluation`
    settings, and of a run the data that it keeps.
    """

    name: str
    help: str
    example: str
    sources: tuple[str, str]
    extra: str
    data: type[Settings]
    model: type[Settings]
    training: type[TrainingSettings]
    evaluation: type[Settings]
    presets: Mapping[str, Preset]
    preset_for: Callable[[Sequence[str], Mapping[str, Any]], str]
    metric: str
    higher_is_better: bool
    learner: Callable[[], type[Learner]]
    evaluate: Callable[[Model, Settings, Progress, RunData | None], Evaluation]
    default_sources: tuple[str, ...] = ()
    several: bool = False
    tunable: tuple[str, ...] = ()

    @property
    def settings(self) -> tuple[type[Settings], ...]:
        """The settings classes whose fields are options of `edgernn train NAME`."""
        return self.data, self.model, self.training

    def choose(self, sources: Sequence[str], preset: str | None = None, **options: Any) -> Chosen:
        """Return the settings for `sources`: defaults, then the preset, then `options`, by field name.

        Raises ConfigError for a preset or a setting that does not exist, or a value that is not accepted.
        """
        chosen = self._preset(self.preset_for(sources, options) if preset is None else preset)
        known = {declared.field.name: declared.settings for declared in declared_options(*self.settings).values()}
        if unknown := sorted(options.keys() - known.keys()):
            raise ConfigError(f"there is no setting {unknown[0]!r} of the task {self.name}")
        own = {kind: {n: v for n, v in options.items() if known[n] is kind} for kind in self.settings}
        return Chosen(
            self.data(**{**chosen.data, **own[self.data]}),
            self.model(**{**chosen.model, **own[self.model]}),
            self.training.of(chosen.training, own[self.training]),
        )

    def choose_from(
        self, origin: Chosen, name: str, sources: Sequence[str], preset: str | None = None, **options: Any
    ) -> Chosen:
        """Return the settings for `sources` of a run that starts from the run `name`, whose settings are `origin`.

        The network and its vocabulary come from `origin`, everything else as in `choose`. Raises ConfigError as
        `choose` does, and for an option or a preset that would change the network or vocabulary.
        """
        named = Preset() if preset is None else self._preset(preset)
        declared = declared_options(self.data, self.model).values()
        parts = {each.field.name: origin.data if each.settings is self.data else origin.model for each in declared}
        fixed = {each.field.name: each.flag for each in declared if each.field.name not in self.tunable}
        for option, value in {**named.data, **named.model, **options}.items():
            if option in fixed and getattr(parts[option], option) != value:
                said = fixed[option] if option in options else f"--preset {preset} sets {fixed[option]}, which"
                raise ConfigError(
                    f"{said} cannot differ from that of the run {name}, from which training starts: leave it out"
                )
        free = {option: value for option, value in options.items() if option not in fixed}
        chosen = self.choose(sources, preset, **free)
        data = {each: getattr(chosen.data, each) for each in self.tunable if parts[each] is origin.data}
        model = {each: free[each] for each in self.tunable if parts[each] is origin.model and each in free}
        return Chosen(origin.data.but(**data), origin.model.but(**model), chosen.training)

    def _preset(self, name: str) -> Preset:
        if name not in self.presets:
            raise ConfigError(f"--preset {name} is not one of {', '.join(self.presets)}")
        return self.presets[name]

    def presets_of(self, declared: Declared) -> dict[str, Any]:
        """Return the default of an option in each preset, by the preset's name."""
        part = {self.data: "data", self.model: "model", self.training: "training"}[declared.settings]
        return {
            name: getattr(getattr(chosen, part), declared.field.name) for name, chosen in self._chosen_by_preset.items()
        }

    @cached_property
    def _chosen_by_preset(self) -> dict[str, Chosen]:
        return {name: self.choose((), name) for name in self.presets}

    def chosen_from_json(self, value: Mapping[str, Any]) -> Chosen:
        """Read what `Chosen.to_json` wrote. Raises FormatError or ConfigError for anything else."""
        return Chosen(
            self.data.from_json(value["data"], "settings.data"),
            self.model.from_json(value["model"], "settings.model"),
            self.training.from_json(value["training"], "settings.training"),
        )
