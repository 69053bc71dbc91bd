"""The command line as its users meet it: results, talk, exit statuses, and what it leaves behind."""

import io
import json
import os
import pty
import re
import shutil
import signal
import subprocess
import sys
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

import edgernn
from edgernn.cli import app, execute
from edgernn.cli.options import value_text
from edgernn.cli.prompt import Prompt
from edgernn.exporters import TARGETS
from edgernn.runtime import Model, Sampler, Stream
from edgernn.runtime.pipelines import Conversation
from edgernn.settings import declared_options
from edgernn.tasks import TASKS
from edgernn.training import Run, Trainer

SMALL = ["--hidden", "12", "--embedding", "4", "--layers", "1", "--bptt", "16", "--batch-size", "2", "--steps", "12"]
COMMANDS = [
    *("train language", "train caption", "evaluate", "export", "adopt", "verify"),
    *("run", "caption", "inspect", "bench", "cells", "compare", "plot", "samples", "search", "page", "serve"),
    *("cache", "demo"),
]


@pytest.fixture(scope="module")
def run_directory(corpus, tmp_path_factory):
    path = tmp_path_factory.mktemp("cli") / "run"
    assert execute(["train", "language", str(corpus), "--out", str(path), *SMALL]) == 0
    return path


@pytest.fixture(scope="module")
def bundle(run_directory):
    path = run_directory.parent / "bundle"
    assert execute(["export", str(run_directory), "--out", str(path)]) == 0
    return path


def as_json(answer):
    status, out, _ = answer
    assert status == 0
    assert out.count("\n") == 1
    return json.loads(out)


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help_with_an_example(call, command):
    status, out, _ = call(*command.split(), "--help")
    assert status == 0
    assert f"Example: edgernn {command}" in " ".join(out.split())
    assert "--json" in out


@pytest.mark.parametrize("command", [*COMMANDS, "inspect gradients"])
def test_help_shows_all_defaults_in_one_form(call, command):
    _, out, _ = call(*command.split(), "--help")
    shown = " ".join(out.replace("│", " ").split())
    assert "[default: (" not in shown
    for words in {"demo": ["[default: 1]"], "adopt": ["[default: random inputs]", "[default: fp32]"]}.get(command, []):
        assert words in shown
    if "inspect" in command:
        assert "[default: 64]" in shown
        assert "that is itself called gradients is named ./gradients" in shown


@pytest.mark.parametrize("task", TASKS)
def test_help_shows_the_real_defaults_those_of_presets_too(call, task):
    status, out, _ = call("train", task, "--help")
    shown = " ".join(out.replace("│", " ").split())
    assert status == 0
    for declared in declared_options(*TASKS[task].settings).values():
        text = re.split(r" --[a-z-]+ <", re.split(rf"{declared.flag} (?:--no-\S+ )?<", shown, maxsplit=1)[1])[0]
        defaults = TASKS[task].presets_of(declared)
        first, *others = defaults.items()
        if first[1] not in (None, False, ""):
            assert f"[default: {value_text(first[1])}" in text, declared.flag
        for preset, value in others:
            shown_value = "none" if value is None else value_text(value)
            assert (f"{preset}: {shown_value}" in text) == (value != first[1]), declared.flag


def test_the_whole_way(call, corpus, tmp_path):
    run, bundle, legacy = tmp_path / "run", tmp_path / "bundle", tmp_path / "legacy"
    trained = as_json(call("train", "language", corpus, "--out", run, *SMALL, "--json"))
    assert trained["run"] == str(run)
    assert trained["steps"] == 12
    assert trained.keys() >= {"parameters", "seconds", "best"}
    assert trained["best"].keys() >= {"nats_per_char", "bits_per_char", "perplexity", "chars", "tokens"}

    exported = as_json(call("export", run, "--out", bundle, "--json"))
    assert exported.keys() >= {"bundle", "target", "precision", "bytes", "bundle_bytes", "seconds", "parity"}
    assert exported["bundle_bytes"] == sum(file.stat().st_size for file in bundle.rglob("*") if file.is_file())
    assert exported["parity"].keys() >= {"steps", "max_abs_diff_outputs", "max_abs_diff_state", "tolerance"}
    status, out, err = call("export", run, "--to", "torchscript", "--out", legacy)
    assert (status, err.count("TorchScript is legacy")) == (0, 1)
    assert "parity over 1,024 chained steps" in out
    rounded = call("export", run, "--to", "torchscript", "--precision", "int8", "--out", tmp_path / "rounded")[1]
    assert re.search(r"\n(\d+) of \1 matrices are stored in 8 bits\n", rounded)

    for path in (bundle, legacy):
        verified = as_json(call("verify", path, "--against", run, "--json"))
        assert verified["passed"] is True
        assert verified["parity"].keys() == exported["parity"].keys()

    held_out = tmp_path / "held-out.txt"
    held_out.write_text(corpus.read_text()[-270:])
    scores = [as_json(call("evaluate", path, "--text", held_out, "--json")) for path in (run, bundle, legacy)]
    assert scores[0]["chars"] == 269
    assert scores[0]["nats_per_char"] == pytest.approx(trained["best"]["nats_per_char"], rel=1e-6)
    for score in scores[1:]:
        assert score["nats_per_char"] == pytest.approx(scores[0]["nats_per_char"], rel=1e-5)

    options = ["the ", "--max-tokens", 30, "--seed", 1]
    texts = [as_json(call("run", path, *options, "--json")) for path in (bundle, legacy)]
    assert texts[0] == texts[1]
    assert (len(texts[0]["text"]), texts[0]["tokens"]) == (30, 30)
    assert call("run", bundle, *options)[1] == "the " + texts[0]["text"] + "\n"
    assert call("run", bundle, *options, "--no-echo")[1] == texts[0]["text"] + "\n"

    report = as_json(call("inspect", bundle, "--json"))
    keys = {"contract", "parameters", "bytes", "operators", "opset", "ir_version", "quantised"}
    assert report.keys() >= keys
    assert as_json(call("inspect", bundle / "step.onnx", "--json")).keys() >= keys
    step = as_json(call("inspect", SCENES / "step.onnx", "--json"))["contract"]
    assert [tensor["name"] for graph in step["graphs"] for tensor in graph["conditions"]] == ["vector", "cells"]
    out = call("inspect", bundle)[1]
    assert "state     h: float32[1, batch, 12] within ±1, 48 bytes a stream  h_in -> h_out" in out
    assert f"parameters  {trained['parameters']:,}" in out


def _interrupted(*_, **__):
    raise KeyboardInterrupt


SCENES = Path(edgernn.__file__).parent / "cli" / "demo" / "scenes"


def _interrupted_after(save):
    """A `Trainer.save` that Ctrl-C ends, except for the first checkpoint, of no step."""
    return lambda trainer: save(trainer) if trainer.step == 0 else _interrupted()


TINY = ("--hidden", 8, "--bptt", 16, "--batch-size", 2, "--steps", 2, "--evaluations", 1)


@pytest.mark.parametrize(
    ("where", "lines"),
    [
        (
            "begin",
            [
                "stopped while the data were being read",
                "there is nothing to continue: give the same command again",
            ],
        ),
        ("resume", ["stopped while the data were being read", "to continue: {}"]),
        ("fit", ["stopped at once; the last checkpoint is kept", "to continue: {}"]),
        ("score", ["the training is finished; to see its score: {}"]),
    ],
)
def test_ctrl_c_says_what_there_is_to_continue(call, corpus, tmp_path, monkeypatch, where, lines):
    run = tmp_path / "run"
    monkeypatch.setattr(Trainer, where, _interrupted)
    status, out, err = call("train", "language", corpus, "--out", run, *TINY)
    command = f"edgernn train language --resume {run}"
    assert (status, out, err.splitlines()) == (
        130,
        "",
        [*(line.format(command) for line in lines), "edgernn: interrupted"],
    )
    monkeypatch.undo()
    assert run.exists() == ("{}" in lines[-1])
    if run.exists():
        assert call(*command.split()[1:])[0] == 0


def test_the_first_ctrl_c_is_answered_at_once(call, corpus, tmp_path, monkeypatch):
    learn = Trainer._learn

    def interrupted(trainer, *about):
        signal.raise_signal(signal.SIGINT)
        return learn(trainer, *about)

    monkeypatch.setattr(Trainer, "_learn", interrupted)
    status, out, err = call("train", "language", corpus, "--out", tmp_path / "run", *TINY)
    assert (status, out) == (130, "")
    assert err.startswith("stopping after this step; Ctrl-C again ends it now\nstopped at step 1; ")
    monkeypatch.setattr(Trainer, "save", _interrupted_after(Trainer.save))
    run = tmp_path / "again"
    err = call("train", "language", corpus, "--out", run, *TINY)[2]
    assert err.splitlines() == [
        "stopping after this step; Ctrl-C again ends it now",
        "stopped at once; the last checkpoint is kept",
        f"to continue: edgernn train language --resume {run}",
        "edgernn: interrupted",
    ]


@pytest.mark.parametrize("suffix", ["png", "svg"])
def test_learning_curves_are_drawn(call, run_directory, tmp_path, suffix):
    picture = tmp_path / f"curves.{suffix}"
    answer = as_json(call("plot", run_directory, run_directory, "--out", picture, "--json"))
    assert answer == {"picture": str(picture), "runs": [str(run_directory)] * 2}
    data = picture.read_bytes()
    assert data.startswith(b"\x89PNG" if suffix == "png" else b"<?xml")
    assert suffix == "png" or data.count(b'id="line2d') > 20


def test_a_training_is_logged_for_tensorboard(call, corpus, tmp_path):
    run, board = tmp_path / "run", tmp_path / "board"
    as_json(call("train", "language", corpus, "--out", run, *SMALL, "--tensorboard", board, "--json"))
    logged = EventAccumulator(str(board)).Reload()
    metrics = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    held_out = logged.Scalars("held-out/nats_per_char")
    assert [(event.step, event.value) for event in held_out] == [
        (line["step"], pytest.approx(line["nats_per_char"])) for line in metrics
    ]
    assert [event.step for event in logged.Scalars("training/nats")] == list(range(1, 13))
    assert logged.Scalars("training/learning_rate")[-1].value < 1e-3


@pytest.mark.parametrize("preset", TASKS["language"].presets)
def test_presets_give_way_to_what_is_given(call, corpus, tmp_path, preset):
    options = ["--input", "one-hot", "--hidden", "7", "--steps", "2", "--batch-size", "1", "--bptt", "8"]
    as_json(call("train", "language", corpus, "--out", tmp_path / "run", "--preset", preset, *options, "--json"))
    chosen = Run.load(tmp_path / "run").prepared.chosen
    assert (chosen.model.input, chosen.model.embedding_size, chosen.model.hidden) == ("one-hot", None, 7)
    assert (chosen.training.steps, chosen.training.passes, chosen.training.batch_size) == (2, None, 1)
    expected = TASKS["language"].choose([str(corpus)], preset)
    assert chosen.training.evaluations == expected.training.evaluations
    assert chosen.model.dropout == expected.model.dropout


def test_gradients_are_measured_and_drawn(call, run_directory, tmp_path):
    picture = tmp_path / "g.png"
    answer = as_json(call("inspect", "gradients", run_directory, "--distance", 20, "--out", picture, "--json"))
    (norms,) = answer["norms"].values()
    assert len(norms) == 20
    assert all(norm > 0 for norm in norms)
    assert picture.read_bytes().startswith(b"\x89PNG")


def test_talk_goes_to_stderr_and_a_pipe_gets_no_progress(corpus, tmp_path):
    command = [sys.executable, "-m", "edgernn", "train", "language", corpus, "--out", tmp_path / "run", *SMALL]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    assert done.stderr == ""
    assert done.stdout.count("\n") == 1
    assert "nats per character" in done.stdout


def converse(bundle, *lines, options=()):
    """What a terminal shows of a talk with `edgernn run`."""
    main, other = pty.openpty()
    command = [sys.executable, "-m", "edgernn", "run", str(bundle), "--max-tokens", "9", "--seed", "1", *options]
    with subprocess.Popen(command, stdin=other, stdout=other, stderr=other, close_fds=True) as child:
        os.close(other)
        shown = b""
        for line in (*lines, None):
            while not shown.endswith(b"> ") and child.poll() is None:
                shown += os.read(main, 4096)
            if line is None or child.poll() is not None:
                break
            shown += b"|"
            os.write(main, line.encode())
        os.write(main, b"\x04")
        assert child.wait(20) == 0
    os.close(main)
    return shown.decode().replace("\r\n", "\n")


def test_a_terminal_gets_a_prompt(bundle, tmp_path):
    model = Model.load(bundle)
    stream = model.stream(Sampler(0.8, 40, 1))
    answers = [stream.complete("the ", 9), "".join(stream.decode(9))]
    stream.save(tmp_path / "expected")
    later = "".join(stream.decode(9))
    stream.reset()
    again = stream.complete("a", 9)
    shown = converse(
        bundle,
        "the \n",
        "\n",
        f"/save '{tmp_path / 'kept'}'\n",
        "/reset\n",
        "a\n",
        f"/load '{tmp_path / 'kept'}'\n",
        "\n",
        "/temperature 0\n",
        "/temperature hot\n",
        "/load nothing\n",
        "/dance\n",
        "é\n",
    )
    for text in (f"the {answers[0]}", answers[1], f"a{again}", later, "temperature: 0\n", "back at the initial state"):
        assert text in shown
    assert (tmp_path / "kept").read_bytes() == (tmp_path / "expected").read_bytes()
    for words in (
        "hot is not a number",
        "nothing: cannot be read",
        "/dance is not a command",
        "the vocabulary has no 'é'",
    ):
        assert words in shown
    assert "/help lists all" in shown


def test_a_command_is_seen_to_be_alive_while_a_library_is_silenced():
    """Libraries in C++ are silenced by pointing descriptor 2 at the null device."""
    code = (
        "import os, time\nfrom edgernn.cli.console import waiting\nkept = os.dup(2)\nwith waiting('working'):\n"
        "    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)\n    time.sleep(2.5)\n    os.dup2(kept, 2)\n"
    )
    main, other = pty.openpty()
    done = subprocess.run([sys.executable, "-c", code], stderr=other, timeout=60, check=False)
    os.close(other)
    shown = os.read(main, 4096).decode()
    os.close(main)
    assert done.returncode == 0
    assert re.match(r"\r\x1b\[2Kworking … [12] s", shown)
    assert shown.endswith("\r\x1b[2K")


@pytest.fixture
def talk(bundle, monkeypatch):
    """A prompt whose lines are given, each a text, or what input() raises; returns its stream."""

    def run(*lines, max_tokens=9, unknown="refuse"):
        given = iter((*lines, EOFError()))

        def answer(_):
            line = next(given)
            if isinstance(line, BaseException):
                raise line
            return line

        monkeypatch.setattr("builtins.input", answer)
        stream = Model.load(bundle).stream(Sampler(0.8, 40, 1))
        Prompt(Conversation(stream, max_tokens, unknown=unknown)).run()
        return stream

    return run


def test_what_is_typed_is_read_as_training_reads(talk, bundle, capsys):
    wrong = UnicodeDecodeError("utf-8", b"ab\xe9", 2, 3, "invalid continuation byte")
    talk(wrong, "the \udce9", "\ufeffthe ")
    shown = capsys.readouterr().out
    assert "what you typed is not UTF-8: byte 2 is 0xe9" in shown
    assert "what you typed is not UTF-8: byte 4 is 0xe9" in shown
    stream = Model.load(bundle).stream(Sampler(0.8, 40, 1))
    assert f"the {stream.complete('the ', 9)}" in shown


def test_the_prompt_shows_and_sets_what_it_says(talk, bundle, capsys, tmp_path):
    file = tmp_path / "a b.bin"
    stream = talk(
        *("the ", "/temperature", "/temperature 0.5", "/top-k 3", "/top-k", "/top-k 1.5", "/seed 7", "/seed x"),
        *("/seed 99999999999999999999", "/max-tokens 2", "/max-tokens 0", "/max-tokens", f'/save "{file}"', "/reset"),
        *(f"/load {file}", "//slash", "/dance now", "/save", "/reset now", "/top-k"),
    )
    shown = capsys.readouterr().out
    for words in (
        *("  temperature: 0.8\n", "  temperature: 0.5\n", "  top-k: 3\n  top-k: 3\n", "1.5 is not a whole number"),
        *("  seed: 7\n", "x is not a whole number", "seed 99999999999999999999 is outside 0..2**64-1"),
        *("  max-tokens: 2\n", "0 is not a whole number of at least 1", f"the state is written to {file}\n"),
        *(f"continuing from the state in {file}\n", "the vocabulary has no '/'", "/save needs the name of a file"),
        *("/dance is not a command; /help lists all, and a text that begins with a slash is typed as //dance now",),
        "/reset takes no value",
    ):
        assert words in shown
    assert shown.endswith("  top-k: 3\n\n")
    assert stream.sampler == Sampler(0.5, 3, 7)
    assert Model.load(bundle).stream().snapshot() != file.read_bytes() == stream.snapshot()


def test_a_saved_state_is_not_lost_by_a_slip(talk, capsys, tmp_path):
    file, quoted = tmp_path / "kept.bin", tmp_path / "a b.bin"
    stream = talk(
        *("the ", f"/save {file}", "a", f"/save {file}", f"/save --overwrite {file}", f'/save "{quoted}', "/load '"),
        *(f"/save '{quoted}'", '/save ""', "/save --overwrite"),
    )
    shown = capsys.readouterr().out
    assert shown.count(f"the state is written to {file}\n") == 2
    assert f"{file} exists; choose another name, or replace it with /save --overwrite {file}\n" in shown
    assert f'a quotation mark is not closed: "{quoted}\n' in shown
    assert "a quotation mark is not closed: '\n" in shown
    assert shown.count("the name of the file is empty\n") == 2
    assert {each.name for each in tmp_path.iterdir()} == {"kept.bin", "a b.bin"}
    assert file.read_bytes() == quoted.read_bytes() == stream.snapshot()


def test_a_loaded_state_says_which_settings_it_brings(talk, capsys, tmp_path):
    file = tmp_path / "kept.bin"
    talk("the ", f"/save {file}", "/temperature 0.5", "/top-k 3", f"/load {file}", f"/load {file}")
    shown = capsys.readouterr().out
    loaded = f"  continuing from the state in {file}\n"
    assert f"{loaded}  temperature: 0.8, as it was saved\n  top-k: 40, as it was saved\n{loaded}\n" in shown


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("quit", "  to leave, type /quit or Ctrl-D\n"),
        (" exit() ", "  to leave, type /quit or Ctrl-D\n"),
        (
            "/temp 0.5",
            "/temp is not a command; did you mean /temperature? /help lists all, and a text that begins with",
        ),
        ("/quti", "/quti is not a command; did you mean /quit? /help lists all"),
        ("the 🙂", "(U+1F642); edgernn run with --unknown skip leaves out such characters\n"),
    ],
)
def test_a_slip_at_the_prompt_is_one_line_and_reaches_no_model(talk, capsys, line, words):
    stream = talk(line)
    said = capsys.readouterr().out.removesuffix("\n").split("\n", 1)[1]
    assert words in said
    assert said.count("\n") == 1
    assert stream.steps == 0


def test_what_the_vocabulary_lacks_can_be_left_out_of_what_is_typed(talk, bundle, capsys):
    talk("thé €e ", unknown="skip")
    assert "thé €e " + Model.load(bundle).stream(Sampler(0.8, 40, 1)).complete("th e ", 9) in capsys.readouterr().out


def test_ctrl_c_stops_the_answer_and_not_the_program(talk, bundle, capsys, monkeypatch):
    """What was shown until then is what the stream has said, and the next line goes on from it."""
    decode = Stream.decode

    def interrupted(stream, *settings):
        for count, text in enumerate(decode(stream, *settings)):
            yield text
            if count == 4:
                signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(Stream, "decode", interrupted)
    stream = talk("the ", KeyboardInterrupt(), max_tokens=100)
    shown = capsys.readouterr().out
    assert "(Ctrl-D or /quit ends the program)" in shown
    alone = Model.load(bundle).stream(Sampler(0.8, 40, 1))
    alone.prefill("the ")
    said = "".join(decode(alone, stream.steps - 4))
    assert 5 <= len(said) <= 6
    assert f"the {said}\n" in shown
    assert alone.snapshot() == stream.snapshot()


def test_ctrl_c_while_a_text_is_read_undoes_it(talk, bundle, capsys, monkeypatch):
    prefill = Stream.prefill

    def interrupted(stream, prompt, **settings):
        prefill(stream, prompt, **settings)
        raise KeyboardInterrupt

    monkeypatch.setattr(Stream, "prefill", interrupted)
    stream = talk("the ")
    assert "(stopped; the state is what it was before this line)" in capsys.readouterr().out
    assert stream.steps == 0


def test_run_has_every_setting_of_the_sampler(call, bundle):
    options = ["--temperature", 0.9, "--top-k", 9, "--top-p", 0.8, "--min-p", 0.01, "--repetition-penalty", 1.3]
    sampler = Sampler(0.9, 9, 4, top_p=0.8, min_p=0.01, repetition_penalty=1.3)
    expected = Model.load(bundle).stream(sampler).complete("the ", 40)
    command = ["run", bundle, "the ", "--max-tokens", 40, "--seed", 4, *options]
    assert as_json(call(*command, "--json")) == {"text": expected, "tokens": 40, "ended": "length"}
    stopped = as_json(call(*command, "--stop", expected[7:9], "--json"))
    assert stopped["text"] == expected[: expected.find(expected[7:9])]
    assert stopped["ended"] == "stop"
    assert call(*command, "--stop", "")[0] == 2


@pytest.mark.slow
def test_bench_measures_side_by_side(call, bundle, run_directory, tmp_path, monkeypatch):
    some = {"onnx": ("fp32", "int8"), "ort": ("int4",), "c": ("fp16",), "torchscript": ("int8",)}
    for name, precisions in (some | {"executorch": ("fp32",)}).items():  # each is an export and a process
        monkeypatch.setitem(TARGETS, name, replace(TARGETS[name], precisions=precisions))
    answer = as_json(
        call("bench", bundle, "--peers", run_directory, "--rounds", 1, "--out", tmp_path / "b.png", "--json")
    )
    assert (tmp_path / "b.png").read_bytes().startswith(b"\x89PNG")
    measured = [target for target in TARGETS.values() if target.name != "wasm"]
    peers = {(target.name, precision) for target in measured for precision in target.precisions}
    floors = [row for row in answer["rows"] if row["name"].startswith("floor of ")]
    assert {row["name"] for row in floors} == {f"floor of c {precision}" for precision in TARGETS["c"].precisions}
    assert all(0 < row["median_us"] <= row["p95_us"] for row in floors)
    rows = [row for row in answer["rows"] if row not in floors]
    assert {(row["engine"], row["precision"]) for row in rows} == {("eager", "fp32"), *peers}
    assert {row["name"] for row in rows} >= {str(bundle), "torch eager", "onnx int8"}
    assert [row["batch"] for row in rows] == [1, 4, 16, 64] * (2 + len(peers))
    for row in rows:
        assert 0 < row["median_us"] <= row["p95_us"] <= row["p99_us"]
        assert row["tokens_per_second"] > 0
        assert ("memory_mib" in row) == (row["engine"] != "eager")
    status, out, _ = call("bench", bundle, "--rounds", 1)
    assert status == 0
    assert "tok/s" in out
    assert "MiB" in out
    assert call("bench")[0] == 2


def test_a_prompt_comes_from_standard_input(bundle):
    command = [sys.executable, "-m", "edgernn", "run", bundle, "--max-tokens", "9", "--seed", "1"]
    done = subprocess.run(command, input="the ", capture_output=True, text=True, timeout=120, check=True)
    assert (done.stdout[:4], len(done.stdout), done.stderr) == ("the ", 14, "")
    done = subprocess.run(command, input="", capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 2
    assert done.stderr == (
        'edgernn: the prompt is empty: give a text, as in edgernn run BUNDLE "Once", or standard input\n'
    )


@pytest.mark.parametrize(
    ("data", "format"),
    [
        (b"the quick\r\nfox", []),
        (b"the quick\rfox", []),
        (b"\xef\xbb\xbfthe quick\n\xef\xbb\xbffox", []),
        ("the quick\nfox".encode("utf-16"), ["--encoding", "utf-16"]),
        (b'{"text": "the quick"}\n{"text": "fox"}\n', ["--field", "text"]),
    ],
)
def test_standard_input_is_read_as_training_reads(call, bundle, monkeypatch, data, format):
    options = ["--max-tokens", 9, "--seed", 1]
    expected = call("run", bundle, "the quick\nfox", *options)
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(data)))
    assert call("run", bundle, *options, *format) == expected
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"caf\xe9")))
    status, _, err = call("run", bundle, *options)
    assert status == 2
    assert err.startswith("edgernn: standard input is not UTF-8: byte 3 is 0xe9; its encoding is likely cp1252, since")


def test_a_text_is_evaluated_in_its_encoding(call, bundle, corpus, tmp_path):
    text = corpus.read_text()[-270:]
    (tmp_path / "plain.txt").write_text(text)
    (tmp_path / "wide.txt").write_bytes(text.encode("utf-16-le"))
    (tmp_path / "lines.jsonl").write_text("".join(json.dumps({"text": line}) + "\n" for line in text.split("\n")))
    status, expected, _ = call("evaluate", bundle, "--text", tmp_path / "plain.txt", "--json")
    assert status == 0
    wide = ["--text", tmp_path / "wide.txt", "--json"]
    assert call("evaluate", bundle, *wide, "--encoding", "utf-16-le") == (0, expected, "")
    status, _, err = call("evaluate", bundle, *wide)
    assert (status, "its encoding is likely utf-16-le, since" in err) == (2, True)
    lines = ["--text", tmp_path / "lines.jsonl"]
    status, _, err = call("evaluate", bundle, *lines)
    assert (status, "lines.jsonl looks like JSON lines" in err) == (0, True)
    status, found, err = call("evaluate", bundle, *lines, "--field", "text", "--json")
    assert (status, err) == (0, "")
    assert json.loads(found)["tokens"] == len(text.rstrip("\n")) - 1


def test_a_prompt_that_cannot_be_continued_is_one_line_and_status_2(call, bundle):
    """Bad inputs of other kinds are in test_bad_inputs.py."""
    for arguments, words in (
        (["a", "--encoding", "utf-16"], "--encoding says how files and standard input are"),
        (["ab\udce9"], "the prompt is not UTF-8: byte 2 is 0xe9"),
        (["é€"], "the vocabulary has no 'é' (U+00E9), '€' (U+20AC)"),
        (["a", "--temperature", 0.0001], "temperature 0.0001 is neither 0"),
        ([""], "the prompt is empty: give a text, as in edgernn run BUNDLE"),
        (["--prompt", "a"], "--prompt is now the argument INPUT: type the text without --prompt"),
    ):
        status, out, err = call("run", bundle, *arguments)
        assert (status, out, err.count("\n")) == (2, "", 1), arguments
        assert err.startswith("edgernn: "), arguments
        assert words in err, (arguments, err)


def test_a_damaged_bundle_is_one_line(call, bundle, tmp_path):
    for name in ("step.onnx", "tokenizer.json", "bundle.json"):
        copy = shutil.copytree(bundle, tmp_path / name)
        data = bytearray((copy / name).read_bytes())
        data[len(data) // 2] ^= 0xFF
        (copy / name).write_bytes(data)
        status, out, err = call("run", copy, "a")
        assert (status, out, err.count("\n")) == (2, "", 1)
        assert name in err


def test_a_failed_check_is_status_1(call, bundle, corpus, tmp_path):
    other = tmp_path / "other"
    assert call("train", "language", corpus, "--out", other, *SMALL, "--seed", 9)[0] == 0
    status, out, err = call("verify", bundle, "--against", other)
    assert (status, out, err.count("\n")) == (1, "", 1)
    assert "was exported with other weights" in err
    status, out, _ = call("verify", bundle, "--against", other, "--json")
    answer = json.loads(out)
    assert (status, answer["passed"], answer["parity"]) == (1, False, None)
    assert "other weights" in answer["reason"]


def test_overwriting_replaces_a_run_and_a_bundle(call, bundle, run_directory, corpus, tmp_path):
    run, out = (shutil.copytree(path, tmp_path / path.name) for path in (run_directory, bundle))
    assert call("train", "language", corpus, "--out", run, *SMALL, "--seed", 9, "--overwrite")[0] == 0
    assert call("verify", out, "--against", run)[0] == 1
    assert call("export", run, "--out", out, "--overwrite")[0] == 0
    assert call("verify", out, "--against", run)[0] == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == ["bundle", "run"]


def test_unknown_characters_in_a_text_to_evaluate_are_counted(call, bundle, tmp_path):
    text = tmp_path / "t.txt"
    text.write_text("the fox ééé")
    status, _, err = call("evaluate", bundle, "--text", text)
    assert (status, err) == (0, "3 tokens are outside the vocabulary: they are scored as the unknown token\n")


def test_whoever_stops_listening_causes_no_traceback(bundle):
    command = f"set -o pipefail; {sys.executable} -m edgernn run {bundle} a --max-tokens 5000 | head -c 5"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, timeout=120, check=False)
    assert (done.returncode, len(done.stdout), done.stderr) == (0, 5, "")


@pytest.mark.parametrize("closed", ["2>&-", "0<&-", "0<&- 2>&-", "1>&- 2>&-"])
def test_closed_streams_are_no_error(bundle, closed):
    command = f"{sys.executable} -m edgernn run {bundle} a --max-tokens 5 --seed 1 {closed}"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, timeout=120, check=False)
    assert (done.returncode, len(done.stdout), done.stderr) == (0, 0 if "1>" in closed else 7, "")


def test_a_message_that_nobody_reads_keeps_the_exit_status(tmp_path):
    command = f"{sys.executable} -m edgernn run {tmp_path / 'none'} a 2>&1 | true; exit ${{PIPESTATUS[0]}}"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, timeout=120, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (2, "", "")


def test_a_prompt_that_names_a_file_is_the_text_itself(call, bundle, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "fox").write_text("the ")
    options = ["--max-tokens", 9, "--seed", 1]
    status, out, err = call("run", bundle, "fox", *options)
    assert (status, out[:3]) == (0, "fox")
    assert err == (
        f"note: fox is taken as the text itself; to run on the file of that name: edgernn run {bundle} < fox\n"
    )
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"the ")))
    assert call("run", bundle, "-", *options) == call("run", bundle, "the ", *options)


def test_unknown_characters_of_a_prompt_are_skipped_or_replaced(call, bundle):
    options = ["--max-tokens", 9, "--seed", 1]
    skipped = call("run", bundle, "thé €e ", "--unknown", "skip", *options)
    assert skipped == call("run", bundle, "th e ", *options)
    assert call("run", bundle, "thé", "--unknown", "replace", *options)[1].startswith("th<unk>")


def test_threads_change_no_text(call, bundle):
    options = ["the ", "--max-tokens", 20, "--seed", 1]
    assert call("run", bundle, *options, "--threads", 2, "--provider", "cpu") == call("run", bundle, *options)


def test_versions_and_short_help(call):
    status, out, _ = call("--version")
    assert status == 0
    assert out.startswith(f"edgernn {edgernn.__version__}, python 3.")
    assert f"onnxruntime {version('onnxruntime')}" in out
    for command in ([], ["run"], ["train", "language"]):
        assert call(*command, "-h") == call(*command, "--help")


def test_the_shell_completes_commands_and_options():
    for typed, completed in (("edgernn ca", "caption\ncache"), ("edgernn run --temp", "--temperature")):
        words = {"COMP_WORDS": typed, "COMP_CWORD": str(typed.count(" ")), "_EDGERNN_COMPLETE": "complete_bash"}
        command = [sys.executable, "-m", "edgernn"]
        done = subprocess.run(command, env=os.environ | words, capture_output=True, text=True, timeout=60, check=True)
        assert done.stdout.strip() == completed


def test_the_cache_is_shown_and_emptied(call, tmp_path, monkeypatch):
    root = tmp_path / "cache"
    monkeypatch.setenv("EDGERNN_CACHE", str(root))
    assert call("cache") == (0, f"{root} holds nothing of edgernn\n", "")
    digest = "0123456789ab" + "c" * 52
    sizes = {
        ".tinyshakespeare.txt.a1_b2": ("interrupted", 1),
        f"images/.{digest}.x8": ("interrupted", 2),
        f"images/{digest}": ("features", 3),
        "tinyshakespeare.txt": ("text", 4),
    }
    for name, (_, size) in sizes.items():
        path = root / name / "array.npy" if "images" in name else root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(bytes(size))
    (root / "notes.txt").write_text("mine")
    values = as_json(call("cache", "--json"))
    assert (values["cache"], values["bytes"], values["emptied"]) == (str(root), 10, False)
    assert {str(Path(e["path"]).relative_to(root)): (e["kind"], e["bytes"]) for e in values["entries"]} == sizes
    assert "   3 bytes  images/0123456789ab… " in call("cache")[1]
    assert call("cache", "--empty") == (0, f"{root}: removed 10 bytes\n", "")
    assert [path.name for path in root.iterdir()] == ["notes.txt"]


def test_every_command_is_tested_here():
    registered = {command.callback.__name__ for command in app.registered_commands}
    assert registered == {name.split()[-1] for name in COMMANDS} - {"language"}
