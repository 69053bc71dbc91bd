"""Settings as fields that are options: what they accept, how tasks choose them, and what the torch side has of them."""

import json
import math
from dataclasses import dataclass, fields
from pathlib import Path

import pytest

from edgernn.data.vocabulary import TOKENIZERS
from edgernn.errors import ConfigError, FormatError
from edgernn.models import encoder, mobilenet, stack
from edgernn.models.cells import CELLS
from edgernn.settings import Option, Settings, declared_options, option
from edgernn.tasks import TASKS
from edgernn.tasks import settings as shared
from edgernn.tasks.caption import settings as caption
from edgernn.tasks.language import settings as language
from edgernn.tasks.settings import Chosen, TrainingSettings, one_cycle

LANGUAGE, CAPTION = TASKS["language"], TASKS["caption"]
KINDS = [kind for task in TASKS.values() for kind in (*task.settings, task.evaluation)]


@dataclass(frozen=True)
class Sample(Settings):
    whole: int = option(3, "A whole number.", low=1, high=9)
    real: float = option(0.5, "A number.", above=0, below=1)
    free: int = option(0, "A whole number without bounds.")
    seed: int = option(0, "A seed.", low=0, below=2**63)
    maybe: int | None = option(None, "A whole number, or none.", low=2, unset="as many as there are")
    text: str = option("a", "A text.")
    kind: str = option("x", "A kind.", choices=("x", "y"))
    yes: bool = option(False, "Yes or no.")
    path: Path = option(Path("here"), "A path.")
    several: tuple[str, ...] = option((), "Texts.")
    short_name: int = option(1, "A number of another name.", flag="n", low=0)
    no_option: int = 5


# What fields accept


@pytest.mark.parametrize(
    "values",
    [
        {"whole": 1},
        {"whole": 9},
        {"real": 0.999},
        {"free": -(10**12)},
        {"free": 10**12},
        {"seed": 2**63 - 1},
        {"maybe": None},
        {"maybe": 2},
        {"text": ""},
        {"kind": "y"},
        {"yes": True},
        {"several": ("a", "b")},
        {"no_option": "anything"},
    ],
    ids=str,
)
def test_what_is_accepted_is_kept(values):
    for settings in (Sample(**values), Sample().but(**values)):
        assert {name: getattr(settings, name) for name in values} == values


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"whole": 0}, "--whole 0 is not a whole number of at least 1 and at most 9"),
        ({"whole": 10}, "--whole 10 is not a whole number of at least 1 and at most 9"),
        ({"whole": 1.0}, r"--whole 1\.0 is not a whole number of at least 1"),
        ({"whole": "3"}, "--whole 3 is not a whole number"),
        ({"whole": True}, "--whole True is not a whole number"),
        ({"whole": None}, "--whole None is not a whole number"),
        ({"real": 0}, "--real 0 is not a number above 0 and below 1"),
        ({"real": 1.0}, r"--real 1\.0 is not a number above 0 and below 1"),
        ({"real": math.nan}, "--real nan"),
        ({"real": math.inf}, "--real inf"),
        ({"real": "x"}, "--real x is not a number"),
        ({"free": 10**12 + 1}, r"--free 1000000000001 is not a whole number .*at most 10\^12"),
        ({"free": 10**400}, "--free 1000"),
        ({"seed": 2**63}, r"--seed 9223372036854775808 is not a whole number of at least 0 and below 2\^63"),
        ({"seed": -1}, "--seed -1"),
        ({"maybe": 1}, "--maybe 1 is not a whole number of at least 2"),
        ({"text": 3}, "--text 3 is not text"),
        ({"kind": "z"}, "--kind z is not one of x, y"),
        ({"kind": ["x"]}, r"--kind \['x'\] is not one of x, y"),
        ({"yes": 1}, "--yes 1 is not true or false"),
        ({"path": "here"}, "--path here is not a path"),
        ({"several": "ab"}, "--several ab is not a list"),
        ({"short_name": -1}, "--n -1 is not a whole number of at least 0"),
        ({"text": 10**60}, "--text 1000000000000000000000000000000000000000… is not text"),
    ],
    ids=str,
)
def test_what_is_not_accepted_is_named_by_its_option(values, words):
    for change in (lambda: Sample(**values), lambda: Sample().but(**values)):
        with pytest.raises(ConfigError, match=words):
            change()


def test_settings_cannot_be_changed_in_place_and_unknown_ones_are_named():
    with pytest.raises(AttributeError):
        Sample().whole = 4
    with pytest.raises(ConfigError, match="there is no setting 'depth'; there is free, kind, maybe, no_option, path"):
        Sample().but(depth=3)


def test_options_are_declared_in_order_by_the_names_of_their_flags():
    declared = declared_options(Sample)
    names = ["whole", "real", "free", "seed", "maybe", "text", "kind", "yes", "path", "several", "n"]
    assert list(declared) == names
    assert [declared[name].flag for name in ("whole", "n", "several")] == ["--whole", "--n", "--several"]
    assert [declared[name].optional for name in ("whole", "maybe")] == [False, True]
    assert [declared[name].type for name in ("whole", "maybe", "path")] == [int, int, Path]
    assert [name for name in names if declared[name].several] == ["several"]
    assert declared["kind"].accepted == "one of x, y"
    assert declared["n"].field.name == "short_name"
    assert declared["n"].settings is Sample


def test_no_option_is_declared_twice():
    @dataclass(frozen=True)
    class Other(Settings):
        whole: int = option(1, "The same again.")

    with pytest.raises(AssertionError, match="whole is declared by Sample and Other"):
        declared_options(Sample, Other)


def test_a_field_of_a_type_that_no_option_has_is_refused():
    @dataclass(frozen=True)
    class Odd(Settings):
        items: dict = option(None, "Anything.")

    with pytest.raises(AssertionError, match="items is of type"):
        declared_options(Odd)


@pytest.mark.parametrize(
    ("bounds", "words"),
    [
        ({}, ""),
        ({"low": 1}, "at least 1"),
        ({"low": 0, "high": 1e6}, "at least 0 and at most 1,000,000"),
        ({"above": 0, "below": 0.5}, "above 0 and below 0.5"),
        ({"below": 2**64}, "below 2^64"),
    ],
    ids=str,
)
def test_bounds_are_written_in_words(bounds, words):
    assert Option("Help.", **bounds).bounds == words


# As JSON


def sample_of(kind):
    """Settings of a kind that are not its defaults, where other values are easily found."""
    changes = {}
    for name, declared in declared_options(kind).items():
        default, about = declared.field.default, declared.option
        candidates = [*about.choices, *{bool: [True, False], str: ["x"], Path: [Path("y")]}.get(declared.type, [])]
        if declared.type in (int, float):
            candidates = [declared.type(each) for each in (4, 2, 1, 0.25, max(about.low, -4))]
        changes[declared.field.name] = next(
            (each for each in candidates if each != default and about.accepts(each)), default
        )
        assert changes[declared.field.name] != default or declared.several, name
    return changes


@pytest.mark.parametrize("kind", [Sample, *KINDS], ids=lambda kind: kind.__name__)
def test_settings_go_to_json_and_back(kind):
    changed = {}
    for name, value in sample_of(kind).items():
        try:
            kind(**{**changed, name: value})
        except ConfigError:  # two settings that exclude each other
            continue
        changed[name] = value
    assert len(changed) >= len(declared_options(kind)) - 5
    for settings in (
        kind(**(changed if kind is not Sample else {**changed, "several": ("a", "b")})),
        kind(**minimal(kind)),
    ):
        values = settings.to_json()
        assert kind.from_json(json.loads(json.dumps(values))) == settings
        assert values.keys() == {each.name for each in fields(kind)}


def minimal(kind):
    return {"steps": 3} if issubclass(kind, TrainingSettings) else {}


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_json_that_is_not_settings_is_named(kind):
    values = kind(**minimal(kind)).to_json()
    name = next(iter(values))
    for wrong, words in (
        ([], "the settings is not an object"),
        ({**values, "mood": 1}, "the settings has an unknown 'mood'"),
        ({key: value for key, value in values.items() if key != name}, f"the settings lacks '{name}'"),
    ):
        with pytest.raises(FormatError, match=words):
            kind.from_json(wrong)
    for wrong in ({"a": 1}, [1], "\ud800", 1e400, -1):
        for key, declared in declared_options(kind).items():
            if declared.type in (int, float, bool) or declared.option.choices:
                with pytest.raises(ConfigError, match=f"--{key.replace('_', '-')} "):
                    kind.from_json({**values, declared.field.name: wrong})


# What tasks choose


@pytest.mark.parametrize("task", TASKS.values(), ids=TASKS.keys())
def test_presets_change_the_defaults_and_options_change_presets(task):
    for name, preset in task.presets.items():
        chosen = task.choose(["x"], name)
        for part, kind in (("data", task.data), ("model", task.model), ("training", task.training)):
            changes = getattr(preset, part)
            for declared in declared_options(kind).values():
                field = declared.field.name
                value = getattr(getattr(chosen, part), field)
                if field in changes:
                    assert value == changes[field]
                elif field not in ("steps", "passes", "minutes"):
                    assert value == declared.field.default, field
        given = task.choose(["x"], name, seed=5, cell="elman", steps=7)
        assert (given.training.seed, given.model.cell) == (5, "elman")
        assert (given.training.steps, given.training.passes, given.training.minutes) == (7, None, None)
        assert given.data == chosen.data
        assert given.model.but(cell=chosen.model.cell) == chosen.model


@pytest.mark.parametrize("task", TASKS.values(), ids=TASKS.keys())
def test_what_cannot_be_chosen_is_named(task):
    with pytest.raises(ConfigError, match=f"--preset huge is not one of {', '.join(task.presets)}"):
        task.choose(["x"], "huge")
    with pytest.raises(ConfigError, match=f"there is no setting 'speed' of the task {task.name}"):
        task.choose(["x"], speed=1)
    with (
        pytest.raises(ConfigError, match="--vocabulary 0")
        if task in (LANGUAGE, TASKS["translate"])
        else pytest.raises(ConfigError, match="there is no setting 'vocabulary'")
    ):
        task.choose(["x"], vocabulary=0)  # that of the model is decided by the data
    with pytest.raises(ConfigError, match="training needs a limit: give --steps, --passes or --minutes"):
        task.choose(["x"], passes=None)
    with pytest.raises(ConfigError, match="--cell lstn is not one of lstm, gru, elman, elman-relu"):
        task.choose(["x"], cell="lstn")


def test_drawn_scenes_have_a_preset_of_their_own():
    assert [CAPTION.preset_for(sources, {}) for sources in (["scenes"], ["flickr8k/"], [])] == [
        *("drawings", "photographs", "photographs")
    ]
    drawings, photographs = CAPTION.choose(["scenes"]), CAPTION.choose(["flickr8k/"])
    assert (drawings.model.encoder, drawings.data.min_count, drawings.training.minutes) == ("small", 1, None)
    assert (photographs.model.encoder, photographs.data.min_count, photographs.training.minutes) == (
        "mobilenet_v2",
        5,
        18,
    )
    assert CAPTION.choose(["scenes"], "photographs") == photographs


def test_the_default_of_an_option_in_each_preset():
    declared = declared_options(*LANGUAGE.settings)
    assert LANGUAGE.presets_of(declared["hidden"]) == {"small": 256, "tiny": 128, "medium": 384, "large-text": 256}
    assert LANGUAGE.presets_of(declared["bptt"]) == dict.fromkeys(("small", "tiny", "medium", "large-text"), 128)
    assert CAPTION.presets_of(declared_options(*CAPTION.settings)["min_count"]) == {"photographs": 5, "drawings": 1}


@pytest.mark.parametrize("task", TASKS.values(), ids=TASKS.keys())
def test_what_is_chosen_goes_to_json_and_back(task):
    chosen = task.choose(["x"], hidden=24, steps=4)
    values = json.loads(json.dumps(chosen.to_json()))
    assert values.keys() == {"data", "model", "training"}
    assert task.chosen_from_json(values) == chosen
    assert isinstance(chosen, Chosen)
    for part in values:
        with pytest.raises(FormatError, match=f"settings.{part} has an unknown 'mood'"):
            task.chosen_from_json({**values, part: {**values[part], "mood": 1}})


@pytest.mark.parametrize("task", TASKS.values(), ids=TASKS.keys())
def test_every_option_says_in_a_sentence_what_it_is_for(task):
    kinds = [*task.settings, task.evaluation]
    for kind in kinds:
        for name, declared in declared_options(kind).items():
            text = declared.option.help
            assert text[0].isupper() or text.startswith("bfloat16"), name
            assert text.endswith("."), name
            assert declared.field.default is not None or declared.option.unset or declared.optional, name
    assert len(declared_options(*task.settings)) == sum(len(declared_options(kind)) for kind in task.settings)


# What the torch side has of them


@pytest.mark.parametrize(
    ("choices", "table"),
    [
        (shared.CELLS, CELLS),
        (language.INITIALS, stack.INITIALS),
        (language.TOKENIZERS, TOKENIZERS),
        (caption.ENCODERS, encoder.ENCODERS),
        (caption.PADDINGS, mobilenet.PADDINGS),
        (caption.SCALINGS, encoder.SCALINGS),
    ],
    ids=["cells", "initials", "tokenizers", "encoders", "paddings", "scalings"],
)
def test_choices_are_what_there_is(choices, table):
    assert sorted(choices) == sorted(table)
    used = [declared.option.choices for kind in KINDS for declared in declared_options(kind).values()]
    assert choices in used


# Limits and the learning rate


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"passes": None}, "training needs a limit"),
        ({"steps": 1.5}, r"--steps 1\.5 is not a whole number"),
        ({"steps": 10**400}, "--steps 1000"),
        ({"speed": 1}, "there is no setting 'speed'"),
        ({"batch_size": 0}, "--batch-size 0 is not a whole number of at least 1"),
        ({"bptt": 0}, "--bptt 0 is not a whole number of at least 1"),
        ({"steps": 0}, "--steps 0 is not a whole number of at least 1"),
        ({"passes": 0}, "--passes 0 is not a number above 0"),
        ({"minutes": math.nan}, "--minutes nan"),
        ({"minutes": -1}, "--minutes -1 is not a number of at least 0.0001"),
        ({"learning_rate": 0}, "--learning-rate 0"),
        ({"warmup": 1}, "--warmup 1"),
        ({"weight_decay": -0.1}, r"--weight-decay -0\.1"),
        ({"average": 1.0}, r"--average 1\.0 is not a number of at least 0 and below 1"),
        ({"evaluations": 0}, "--evaluations 0"),
        ({"reset": 1.1}, r"--reset 1\.1"),
        ({"clip": 0}, "--clip 0"),
        ({"patience": 0}, "--patience 0"),
        ({"optimizer": "sgd"}, "--optimizer sgd is not one of muon, adamw"),
        ({"device": "abacus"}, "--device abacus is not one of auto, cpu, cuda, mps"),
        ({"autocast": "fp8"}, "--autocast fp8 is not one of auto, off, bf16"),
        ({"seed": -1}, "--seed -1"),
    ],
    ids=str,
)
def test_impossible_trainings_are_named(settings, words):
    with pytest.raises(ConfigError, match=words):
        LANGUAGE.training().but(**settings)


def test_a_limit_replaces_all_that_were_set():
    settings = CAPTION.training()
    assert (settings.steps, settings.passes, settings.minutes) == (None, 18, 18)
    limited = settings.but(steps=5, minutes=2.0, seed=3)
    assert (limited.steps, limited.passes, limited.minutes, limited.seed) == (5, None, 2.0, 3)
    assert settings.but(seed=3).passes == 18


def test_progress_is_that_of_the_limit_that_comes_first():
    settings = LANGUAGE.training().but(steps=100, passes=2.0, minutes=1.0)
    assert settings.progress(10, 3.0, 1000) == 0.1
    assert settings.progress(10, 30.0, 1000) == 0.5
    assert settings.progress(10, 3.0, 10) == 0.5
    assert settings.progress(100, 0.0, 10**6) == 1
    assert LANGUAGE.training().but(passes=0.001).progress(1, 0.0, 10) == 1  # a step at least


def test_the_learning_rate_is_one_cycle():
    rates = [one_cycle(1.0, progress / 100, 0.25) for progress in range(101)]
    assert rates[25] == max(rates) == 1.0
    assert rates[:26] == sorted(rates[:26])
    assert rates[25:] == sorted(rates[25:], reverse=True)
    assert rates[0] == pytest.approx(0.04)
    assert rates[100] == pytest.approx(0.001)
    assert one_cycle(2.0, 0.0) == 2.0
    assert one_cycle(2.0, 1.5, 0.1) == pytest.approx(0.002)
