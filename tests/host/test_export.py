"""What is exported equals its source, on every target, or is not written."""

import json
import shutil
import warnings
from dataclasses import replace
from itertools import islice

import numpy as np
import onnx
import pytest
import torch
from conversions import convert_once, forget
from targets import TARGETS
from torch import nn

from edgernn.bundle import TOKENIZER, Bundle, Manifest, new_bundle
from edgernn.contract import (
    BATCH,
    Contract,
    FromFile,
    GraphSpec,
    StateSpec,
    TensorSpec,
    graph_from_json,
    graph_to_json,
)
from edgernn.engines import ENGINES, EagerEngine, eager_model
from edgernn.errors import (
    BundleError,
    CheckFailedError,
    ConfigError,
    EngineError,
    ExportError,
    OutputExistsError,
    ParityError,
)
from edgernn.examples import example, random_inputs
from edgernn.exporters import Quantization, export, verify
from edgernn.exporters.inspection import inspect_bundle, inspect_onnx
from edgernn.exporters.targets.onnx import CONTRACT_KEY, OPSET
from edgernn.models import Graph, Network, Source
from edgernn.models.cells import CELLS
from edgernn.runtime import Model, Sampler
from edgernn.runtime.parity import TOLERANCES, Comparison, chain, pairs
from edgernn.runtime.scoring import score
from edgernn.tasks import TASKS
from edgernn.tasks.language.network import LanguageConfig, LanguageModel
from edgernn.tokenizer import Tokenizer
from edgernn.training import Run, Trainer

ASSETS = {TOKENIZER: Tokenizer.characters("abcdefghij").to_json().encode()}


@pytest.fixture(scope="module", autouse=True)
def _converted_once():
    with convert_once():
        yield


@pytest.fixture(scope="session")
def source(trained):
    return Run.load(trained).source()


@pytest.fixture(scope="session")
def bundles(source, tmp_path_factory):
    folder = tmp_path_factory.mktemp("bundles")
    return {target: export(source, folder / target, target=target, steps=256) for target in TARGETS}


def contents(folder):
    return {str(file.relative_to(folder)): file.read_bytes() for file in folder.rglob("*") if file.is_file()}


def load(exported):
    return Model.load(exported.path, ENGINES[exported.target])


@pytest.mark.parametrize("target", TARGETS)
def test_the_gate_measured_what_the_bundle_says(bundles, target, source):
    exported = bundles[target]
    manifest = Bundle.load(exported.path).manifest
    assert manifest.parity == exported.parity.to_json()
    assert exported.parity.steps == 256
    assert 0 < exported.parity.max_abs_diff_outputs <= exported.parity.tolerance.absolute == 1e-4
    assert exported.bytes == (exported.path / f"step{TARGETS[target].suffix}").stat().st_size
    again = verify(exported.path, source, steps=256)
    assert again == exported.parity


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("batch", [1, 3])
def test_the_artifact_is_the_trained_network(bundles, target, batch, source):
    """Not the gate again: whole sequences through the fused path, whatever the batch."""
    model, network = load(bundles[target]), source.network
    tokens = np.random.default_rng(0).integers(1, network.config.vocabulary, (64, batch))
    with torch.no_grad():
        expected, last = network.sequence(torch.from_numpy(tokens), network.initial_state(batch))
    _, state = model.begin(batch=batch)
    for token, logits in zip(tokens, expected, strict=True):
        outputs, state = model.step({"token": token}, state)
        np.testing.assert_allclose(outputs["logits"], logits, atol=1e-5)
    for ours, theirs in zip(state.values(), last, strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-5, rtol=1e-5)


def test_every_target_writes_the_same_text_and_takes_the_others_snapshot(bundles):
    streams = []
    for exported in bundles.values():
        stream = load(exported).stream(Sampler(temperature=0.7, top_k=5, seed=1))
        stream.prefill("the ")
        streams.append(stream)
    texts = ["".join(stream.decode(60)) for stream in streams]
    assert len(set(texts)) == 1
    streams[1].restore(streams[0].snapshot())
    assert "".join(streams[0].decode(60)) == "".join(streams[1].decode(60))
    assert len({stream.model.manifest.digest for stream in streams}) == 1


def test_the_network_itself_writes_the_text_of_its_bundles(bundles, source):
    texts = []
    for model in (eager_model(source), load(bundles["onnx"])):
        stream = model.stream(Sampler(temperature=0.7, top_k=5, seed=1))
        stream.prefill("the ")
        texts.append("".join(stream.decode(60)))
        assert score(model, "the quick").nats == pytest.approx(score(load(bundles["onnx"]), "the quick").nats, rel=1e-5)
    assert texts[0] == texts[1]


def test_the_bundle_scores_as_the_run_does(bundles, trained, corpus):

    run, text = Run.load(trained), corpus.read_text()[-500:]
    expected = score(eager_model(run.source()), text)
    for exported in bundles.values():
        assert score(load(exported), text).nats == pytest.approx(expected.nats, rel=1e-5)


def test_a_target_whose_products_are_not_counted_says_so(bundles, call):
    shown = call("inspect", bundles["torchscript"].path)[1]
    assert "products    multiply-accumulates are not counted for torchscript\n" in shown
    assert " multiply-accumulates a step of one stream\n" in call("inspect", bundles["ort"].path)[1]


def test_a_lone_onnx_file_says_how_it_is_driven(bundles, source):
    path = bundles["onnx"].path / "step.onnx"
    model = onnx.load(path)
    (spec,) = (graph.spec for graph in source.network.graphs())
    assert [prop.key for prop in model.metadata_props] == [CONTRACT_KEY]
    assert graph_from_json(json.loads(model.metadata_props[0].value)) == spec
    assert b"site-packages" not in path.read_bytes()
    report = inspect_onnx(path)
    assert report["contract"] == {"graphs": [graph_to_json(spec)]}
    assert (report["opset"], report["quantised"], report["bytes"]) == (OPSET, False, path.stat().st_size)
    products = [p for n, p in source.network.named_parameters() if p.ndim == 2 and n != "embedding.weight"]
    assert report["multiply_accumulates"] == sum(p.numel() for p in products)
    assert inspect_bundle(bundles["ort"].path)["multiply_accumulates"] == report["multiply_accumulates"]
    floats = sum(t["bytes"] for t in report["tensors"] if t["dtype"] == "float")
    assert floats == 4 * sum(p.numel() for p in source.network.parameters())
    assert 0 < report["floor_us"] < 1e5
    assert {"MatMul", "Sigmoid", "Tanh"} <= report["operators"].keys()
    assert "LSTM" not in report["operators"]


@pytest.mark.parametrize("target", TARGETS)
def test_inspection_counts_the_networks_parameters(bundles, target, source):
    report = inspect_bundle(bundles[target].path)
    assert report["parameters"] == sum(parameter.numel() for parameter in source.network.parameters())
    assert report["bytes"] == bundles[target].bytes
    assert report["parity"]["steps"] == 256
    assert report["provenance"]["data"]["name"] == "fox.txt"


def test_bytes_of_an_export_do_not_depend_on_when_it_was_made(bundles, source, tmp_path):
    forget()
    again = export(source, tmp_path / "b", steps=256)
    assert contents(again.path) == contents(bundles["onnx"].path)


def test_what_is_no_onnx_file_is_named(tmp_path, bundles):
    path = tmp_path / "x.onnx"
    for content in (b"", b"not a model", (bundles["onnx"].path / "step.onnx").read_bytes()[:-7]):
        path.write_bytes(content)
        with pytest.raises(EngineError, match="not an ONNX file"):
            inspect_onnx(path)
    with pytest.raises(EngineError, match="there is no"):
        inspect_onnx(tmp_path / "none.onnx")


def test_a_damaged_torchscript_graph_is_named(bundles):
    graph = (bundles["torchscript"].path / "step.ptl").read_bytes()
    spec = Bundle.load(bundles["torchscript"].path).manifest.contract["step"]
    for data in (b"", graph[:200], graph[:-200]):
        with pytest.raises(EngineError, match="graph step cannot be loaded"):
            ENGINES["torchscript"](data, spec)


def test_an_unknown_target_or_precision_is_named(source, tmp_path):
    with pytest.raises(
        ConfigError, match=r"the target tflite \(--to\) is not one of onnx, ort, c, wasm, torchscript, executorch"
    ):
        export(source, tmp_path / "b", target="tflite")
    with pytest.raises(ConfigError, match=r"the precision int3 \(--precision\) is not one that onnx has: fp32"):
        export(source, tmp_path / "b", precision="int3")
    assert not (tmp_path / "b").exists()


def test_an_existing_bundle_is_kept(bundles, source):
    before = contents(bundles["onnx"].path)
    with pytest.raises(OutputExistsError):
        export(source, bundles["onnx"].path)
    assert contents(bundles["onnx"].path) == before


EVERY_SHAPE = [
    *({"cell": cell} for cell in CELLS),
    {"cell": "lstm", "layer_norm": True},
    {"residual": True, "layers": 2},
    {"initial": "learned", "cell": "gru"},
    {"tied": True},
    {"input": "one-hot", "cell": "elman"},
]


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("shape", EVERY_SHAPE, ids=str)
def test_every_model_exports_to_every_target(tmp_path, target, shape):
    torch.manual_seed(0)
    model = LanguageModel(LanguageConfig(11, **{"hidden": 8, "layers": 1, **shape})).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += 0.3 * torch.randn_like(parameter)
    exported = export(Source(model, ASSETS), tmp_path / "b", target=target, steps=64)
    assert exported.parity.max_abs_diff_outputs <= 1e-4
    stream = load(exported).stream(Sampler(temperature=0))
    stream.prefill("abcab")
    with torch.no_grad():
        logits, last = model.sequence(torch.tensor([[1], [2], [3], [1], [2]]), model.initial_state(1))
    np.testing.assert_allclose(stream.logits, logits[-1, 0], atol=1e-4)
    for ours, theirs in zip(stream.state.values(), last, strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-4)
    if shape.get("initial") == "learned":
        np.testing.assert_array_equal(load(exported).stream().state["h"], model.stack.initial["h"].detach().numpy())


def test_verification_finds_another_initial_state(tmp_path):
    model = LanguageModel(LanguageConfig(11, hidden=8, initial="learned")).eval()
    source = Source(model, ASSETS)
    export(source, tmp_path / "b", steps=4)
    loaded = Bundle.load(tmp_path / "b")
    with new_bundle(tmp_path / "c") as writer:
        for name, data in loaded.files.items():
            if name == "initial/h.npy":
                data = data[:-4] + b"1234"
            (writer.directory / name).parent.mkdir(parents=True, exist_ok=True)
            (writer.directory / name).write_bytes(data)
        writer.finish(loaded.manifest)
    with pytest.raises(CheckFailedError, match="with other initial states"):
        verify(tmp_path / "c", source)


class Wrong(Network):
    """A network whose exported module is not quite its source."""

    task = "wrong"

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module

    def graphs(self):
        state = StateSpec("h", "float32", (BATCH, 2))
        x, y = TensorSpec("x", "float32", (BATCH, 2)), TensorSpec("y", "float32", (BATCH, 2))
        return (Graph(GraphSpec("step", (x,), (y,), (state,)), self.module, Accumulate(1.0)),)


class Accumulate(nn.Module):
    def __init__(self, keep: float) -> None:
        super().__init__()
        self.keep = keep

    def forward(self, x, h):
        h = torch.tanh(x) * 0.5 + self.keep * torch.tanh(h)
        return h * 2, h


class AloneOnly(Accumulate):
    """Right for one stream, wrong for several: each sees the first one's input."""

    def forward(self, x, h):
        y, h = super().forward(x, h)
        return y + 0.01 * (x - x[:1]), h


class Refusing(nn.Module):
    def forward(self, x, h):
        raise RuntimeError("this module refuses")


@pytest.mark.parametrize("target", TARGETS)
def test_the_slightest_drift_fails_the_export_and_leaves_nothing(tmp_path, target):
    message = r"graph step, y at step \d+ with 1 stream: the artifact gives .*; they differ by \S+, beyond 0.0001"
    with pytest.raises(ParityError, match=message):
        export(Source(Wrong(Accumulate(1.001))), tmp_path / "b", target=target)
    assert list(tmp_path.iterdir()) == []
    assert export(Source(Wrong(Accumulate(1.0))), tmp_path / "b", target=target).parity.steps == 1024


@pytest.mark.parametrize("target", TARGETS)
def test_streams_that_see_each_other_are_found(tmp_path, target):
    with pytest.raises(ExportError, match="y of a stream changes with the inputs of the others in its batch"):
        export(Source(Wrong(AloneOnly(1.0))), tmp_path / "b", target=target)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("target", TARGETS)
def test_a_module_that_cannot_be_exported_is_named(tmp_path, target):
    with pytest.raises(ExportError, match=r"graph step refuses x float32\[1, 2\], .*: this module refuses"):
        export(Source(Wrong(Refusing())), tmp_path / "b", target=target)
    assert list(tmp_path.iterdir()) == []


class Exotic(nn.Module):
    """A function that TorchScript has and the others have not."""

    def forward(self, x, h):
        h = torch.special.bessel_j0(x + h)
        return h * 2, h


def test_an_unsupported_operator_is_named(tmp_path):
    with pytest.raises(
        ExportError, match=r"graph step cannot be exported to ExecuTorch: .*bessel_j0((?!torchscript).)*$"
    ):
        export(Source(Wrong(Exotic())), tmp_path / "b", target="executorch")
    assert list(tmp_path.iterdir()) == []


def compared(source, artifact, spec, steps):
    """Both driven by the same random inputs, one stream from zeros on."""
    states = {state.input: state.first({BATCH: 1}, {}) for state in spec.states}
    given = islice(random_inputs(spec, 1, np.random.default_rng(0)), steps)
    comparison = Comparison(spec, TOLERANCES["fp32"])
    for pair in pairs(chain(source, spec, given, states), artifact, spec, states):
        comparison.add(*pair)
    return comparison.result()


class Ours:
    """An engine whose results are changed on the way out."""

    def __init__(self, engine, change):
        self.engine, self.change, self.calls = engine, change, 0

    def run(self, feeds):
        self.calls += 1
        return self.change(self.calls, [array.copy() for array in self.engine.run(feeds)])


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda n, r: [r[0] + 0.01 * (n == 77), r[1]], "y at step 77 with 1 stream: .* by 0.01, beyond"),
        (lambda n, r: [r[0] * np.nan if n == 5 else r[0], r[1]], "y at step 5 .* by nan"),
        (lambda n, r: [r[0], r[1] + 0.5 * (n == 200)], "h_out at step 200 .* by 0.5"),
        (lambda n, r: [r[0][:, :1], r[1]], r"y at step 1 .* shape is \(1, 1\), the source's \(1, 2\)"),
    ],
)
def test_step_tensor_and_size_of_a_difference_are_named(change, words):
    (graph,) = Wrong(Accumulate(1.0)).graphs()
    engine = EagerEngine(graph.source, graph.spec)
    with pytest.raises(ParityError, match=words):
        compared(engine, Ours(engine, change), graph.spec, 200)


def test_a_large_state_is_held_to_its_own_scale():
    (graph,) = Wrong(Accumulate(1.0)).graphs()

    class Growing(nn.Module):
        def forward(self, x, h):
            return torch.tanh(x), h + 10

    engine = EagerEngine(Growing(), graph.spec)
    parity = compared(engine, Ours(engine, lambda n, r: [r[0], r[1] * (1 + 1e-7)]), graph.spec, 300)
    assert parity.max_abs_diff_state > 1e-4
    assert 1 > parity.max_share > 1e-4
    assert parity.max_abs_diff_outputs == 0


def test_verification_finds_other_weights(bundles, trained, tmp_path):
    source = Run.load(trained).source()
    with torch.no_grad():
        source.network.output.bias[0] += 1e-3
    with pytest.raises(CheckFailedError, match="was exported with other weights"):
        verify(bundles["onnx"].path, source)


def rewritten(exported, path, *, graph=None, tokenizer=None, **changes):
    """The bundle with other content and right digests."""
    loaded = Bundle.load(exported.path)
    values = {name: getattr(loaded.manifest, name) for name in Manifest.__dataclass_fields__}
    (file,) = loaded.manifest.graphs.values()
    with new_bundle(path) as writer:
        (writer.directory / file).write_bytes(loaded.graph("step") if graph is None else graph)
        if tokenizer != "none":
            (writer.directory / TOKENIZER).write_bytes(tokenizer or loaded.files[TOKENIZER])
        writer.finish(Manifest(**{**values, **changes}))
    return path


def test_verification_finds_a_graph_that_was_exchanged(bundles, source, tmp_path):
    """Digests right, graph wrong: only driving it shows it."""
    other = LanguageModel(LanguageConfig(**source.network.config.to_json())).eval()
    (graph,) = other.graphs()
    path = rewritten(
        bundles["onnx"],
        tmp_path / "b",
        graph=TARGETS["onnx"].write([graph], Quantization("fp32"), {})[graph.spec.name].data,
    )
    with pytest.raises(ParityError, match="logits at step 1 with 1 stream") as caught:
        verify(path, source)
    assert caught.value.measured["steps"] == 1
    assert caught.value.measured["max_abs_diff_outputs"] > 0.01


def test_verification_finds_a_lying_manifest(bundles, source, tmp_path):
    contract = graph_to_json(source.network.graphs()[0].spec)
    swapped = json.loads(json.dumps(contract))
    h, c = swapped["states"]
    h["output"], c["output"] = c["output"], h["output"]
    lower = json.loads(json.dumps(contract))
    lower["inputs"][0]["bound"] = 3
    for number, graph in enumerate((swapped, lower)):
        path = rewritten(bundles["onnx"], tmp_path / str(number), contract=Contract((graph_from_json(graph),)))
        with pytest.raises(CheckFailedError, match="with another contract"):
            verify(path, source)
    with pytest.raises(CheckFailedError, match="for another task"):
        verify(rewritten(bundles["onnx"], tmp_path / "task", task="dance"), source)
    model = onnx.load(bundles["onnx"].path / "step.onnx")
    model.metadata_props[0].value = json.dumps(swapped)
    path = rewritten(bundles["onnx"], tmp_path / "onnx", graph=model.SerializeToString())
    with pytest.raises(CheckFailedError, match="the contract in the file of graph step is another than"):
        verify(path, source)


def test_verification_finds_another_tokenizer(bundles, source, tmp_path):
    record = json.loads(source.assets[TOKENIZER])
    vocabulary = record["model"]["vocab"]
    vocabulary["a"], vocabulary["b"] = vocabulary["b"], vocabulary["a"]
    for number, tokenizer in enumerate((json.dumps(record).encode(), "none")):
        with pytest.raises(CheckFailedError, match=r"with another tokenizer\.json"):
            verify(rewritten(bundles["onnx"], tmp_path / str(number), tokenizer=tokenizer), source)


def named(names):
    """Graphs `one.more` and `step` whose states begin as files in the folder `first`."""
    x, y = (TensorSpec(name, "float32", (BATCH, 2)) for name in "xy")
    state = StateSpec("h", "float32", (BATCH, 2), initial=FromFile("first/h.npy"))
    return [
        Graph(GraphSpec(n, (x,), (y,), (state,)), *[Accumulate(1.0)] * 2, {"first/h.npy": torch.ones(2)}) for n in names
    ]


@pytest.fixture(scope="module")
def with_assets(tmp_path_factory):
    network = Wrong(Accumulate(1.0))
    network.graphs = lambda: named(["one.more", "step"])
    source = Source(network, {"labels.json": b'["a"]', "read.me": b"\x00\xff"})
    return source, export(source, tmp_path_factory.mktemp("assets") / "b", steps=4)


def test_assets_travel_and_are_checked_byte_for_byte(with_assets, tmp_path):
    source, exported = with_assets
    files = Bundle.load(exported.path).files
    assert {name: files[name] for name in source.assets} == source.assets
    assert verify(exported.path, source, steps=4).steps == 4
    for name, assets in (
        ("labels.json", {**source.assets, "labels.json": b'["b"]'}),
        ("read.me", {"labels.json": b'["a"]'}),
        ("tokenizer.json", {**source.assets, **ASSETS}),
    ):
        with pytest.raises(CheckFailedError, match=f"was exported with another {name} than"):
            verify(exported.path, replace(source, assets=assets), steps=4)


@pytest.mark.parametrize(
    "name", ["", "a/b", "../a", ".hidden", "a b", "é", "x" * 300, "bundle.json", "golden", "first"]
)
def test_assets_with_names_that_bundles_cannot_have_are_refused(with_assets, tmp_path, name):
    source, _ = with_assets
    with pytest.raises(ExportError, match=r"has no plain file name|would take the place of another file"):
        export(replace(source, assets={name: b""}), tmp_path / "b")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["step.onnx", "one.more.required_operators.config"])
def test_assets_do_not_take_the_place_of_graphs(with_assets, tmp_path, name):
    source, _ = with_assets
    with pytest.raises(ExportError, match=f"the asset '{name}' would take the place of another file of the bundle"):
        export(replace(source, assets={name: b""}), tmp_path / "b")


def test_what_could_not_be_loaded_is_not_written(tmp_path):
    model = LanguageModel(LanguageConfig(11, hidden=8, layers=1)).eval()
    letters = Tokenizer.characters("abc").to_json().encode()
    for assets, words in (
        ({TOKENIZER: letters}, "could not be loaded: graph step does not read the 4 tokens"),
        ({TOKENIZER: b"\xff"}, "could not be loaded: .*tokenizer.json is not UTF-8"),
        ({TOKENIZER: b"{}"}, "could not be loaded: "),
    ):
        with pytest.raises(ExportError, match=words):
            export(Source(model, assets), tmp_path / "b")
    assert list(tmp_path.iterdir()) == []


def test_verification_of_a_bundle_for_an_unknown_target(bundles, source, tmp_path):
    path = rewritten(bundles["onnx"], tmp_path / "b", target="abacus")
    with pytest.raises(ConfigError, match="is for abacus at fp32, which this edgernn does not run"):
        verify(path, source)
    with pytest.raises(BundleError, match="which this edgernn cannot inspect"):
        inspect_bundle(path)


def traced(forward, count):
    class Any(nn.Module):
        pass

    Any.forward = forward
    tensors = (torch.zeros(2, dtype=torch.int64), *[torch.zeros(2, 2, 24)] * 2)[:count]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        module = torch.jit.trace(Any(), tensors, check_trace=False)
        return module._save_to_buffer_for_lite_interpreter()


@pytest.mark.parametrize(
    ("forward", "count", "words"),
    [
        (lambda self, t, h: (t * 1.0, h, h), 2, "takes 2 tensors; its contract says 3"),
        (lambda self, t, h, c: h.double(), 3, "returns float64; its contract says float32, float32, float32"),
        (lambda self, t, h, c: [h, c, h][:2], 3, "returns no tensors"),
        (lambda self, t, h, c: (h.double(), h, c), 3, "returns float64, float32, float32"),
    ],
)
def test_a_torchscript_graph_of_another_signature_is_named(bundles, tmp_path, forward, count, words):
    path = rewritten(bundles["torchscript"], tmp_path / "b", graph=traced(forward, count))
    with pytest.raises(EngineError, match=words):
        Model.load(path, ENGINES["torchscript"]).stream().prefill("the")


def test_weights_outside_the_bundle_are_refused(bundles, tmp_path, monkeypatch):
    """External data would be read from wherever the process stands, and no digest covers it."""
    model = onnx.load(bundles["onnx"].path / "step.onnx")
    (tmp_path / "inside").mkdir()
    monkeypatch.chdir(tmp_path / "inside")
    onnx.save_model(model, "x.onnx", save_as_external_data=True, location="secret.bin", size_threshold=0)
    shutil.copy("secret.bin", "../secret.bin")
    for location in ("../secret.bin", "secret.bin"):
        outside = onnx.load("x.onnx", load_external_data=False)
        for tensor in outside.graph.initializer:
            for entry in tensor.external_data:
                if entry.key == "location":
                    entry.value = location
        path = rewritten(bundles["onnx"], tmp_path / str(len(location)), graph=outside.SerializeToString())
        with pytest.raises(EngineError, match="graph step cannot be loaded"):
            Model.load(path)


def test_a_paths_folder_does_not_travel(trained, corpus, small, tmp_path):
    (tmp_path / "private").mkdir()
    held_out = tmp_path / "private" / "held.txt"
    held_out.write_text("the quick brown fox")
    for _ in Trainer.begin(TASKS["language"], [str(corpus)], tmp_path / "run", held_out=str(held_out), **small).fit():
        pass
    path = export(Run.load(tmp_path / "run").source(), tmp_path / "bundle", steps=4).path
    assert "private" not in (path / "bundle.json").read_text()
    assert str(corpus.parent) not in (path / "bundle.json").read_text()


def test_a_graph_without_state_is_a_graph_with_an_empty_state(tmp_path):
    class Encoder(Network):
        task = "encode"

        def __init__(self) -> None:
            super().__init__()
            self.linear = nn.Linear(4, 3)

        def forward(self, x):
            return self.linear(x.flatten(1).to(torch.float32))

        def graphs(self):
            spec = GraphSpec(
                "encode",
                (TensorSpec("image", "uint8", (BATCH, 2, 2)),),
                (TensorSpec("features", "float32", (BATCH, 3)),),
            )
            return (Graph(spec, self, self),)

    torch.manual_seed(0)
    encoder = Encoder().eval()
    for target in TARGETS:
        model = load(export(Source(encoder), tmp_path / target, target=target, steps=8))
        image = example(model.contract["encode"].feeds, 2, np.random.default_rng(0))["image"]
        outputs, state = model.step({"image": image}, graph="encode")
        assert len(state) == 0
        expected = encoder(torch.from_numpy(image)).detach().numpy()
        np.testing.assert_allclose(outputs["features"], expected, rtol=1e-5)


def test_examples_stay_within_bounds():
    specs = {
        "token": TensorSpec("token", "int64", (BATCH,), bound=3),
        "pixel": TensorSpec("pixel", "uint8", (BATCH, "time")),
        "mask": TensorSpec("mask", "bool", (BATCH,)),
    }
    arrays = example(specs, 500, np.random.default_rng(0))
    assert sorted(set(arrays["token"].tolist())) == [0, 1, 2]
    assert arrays["pixel"].shape == (500, 7)
    assert arrays["pixel"].max() > 200
    assert set(arrays["mask"].tolist()) == {False, True}


def test_the_tokenizer_travels(bundles, trained):
    assert (
        load(bundles["onnx"]).tokenizer.to_json()
        == Tokenizer.from_json((trained / "assets" / "tokenizer.json").read_text()).to_json()
    )
