"""Lower precisions: what is rounded, how well, and that streams stay independent."""

from dataclasses import replace

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from conversions import convert_once
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import helper, numpy_helper
from torch import nn

from edgernn.bundle import TOKENIZER, Bundle
from edgernn.contract import BATCH, GraphSpec, StateSpec, TensorSpec
from edgernn.engines import ENGINES
from edgernn.errors import ConfigError, ExportError, ParityError
from edgernn.examples import example
from edgernn.exporters import TARGETS, export
from edgernn.exporters.inspection import inspect_bundle
from edgernn.exporters.quantisation.quantise import PRECISIONS
from edgernn.exporters.quantisation.rounding import round_blocks
from edgernn.exporters.quantization import BLOCKS, Quantization
from edgernn.exporters.targets.onnx import ONNX
from edgernn.models import Graph, HeldOut, Network, Source
from edgernn.models.cells import CELLS
from edgernn.runtime import Model, OnnxEngine
from edgernn.runtime.parity import TOLERANCES
from edgernn.tasks.language.network import LanguageConfig, LanguageModel
from edgernn.tokenizer import Tokenizer

SHAPES = [
    *({"cell": cell} for cell in CELLS),
    {"cell": "gru", "layer_norm": True},
    {"residual": True, "layers": 3},
    {"initial": "learned", "cell": "gru"},
    {"tied": True},
    {"input": "one-hot", "cell": "elman"},
]
ASSETS = {TOKENIZER: Tokenizer.characters("abcdefghij").to_json().encode()}
BITS = {"fp16": 16, "int8": 8, "int4": 4}


@pytest.fixture(scope="module", autouse=True)
def _converted_once():
    with convert_once():
        yield


def network(**shape):
    torch.manual_seed(0)
    sizes = {"hidden": 40, "layers": 2, "embedding": None if "input" in shape else 24}
    model = LanguageModel(LanguageConfig(11, **{**sizes, **shape})).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += 0.1 * torch.randn_like(parameter)
    return model


def rows(arrays, specs, row):
    return {n: np.take(a, [row], axis=specs[n].batch_axis) for n, a in arrays.items()}


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_every_matrix_of_every_model_is_rounded_and_no_stream_sees_another(tmp_path, shape, precision):
    model = network(**shape)
    source = Source(model, ASSETS)
    exported = export(source, tmp_path / "b", precision=precision, steps=64)
    bundle = Bundle.load(tmp_path / "b")
    matrices = {name for name, p in model.named_parameters() if p.ndim == 2 and not name.startswith("stack.initial")}
    weights = bundle.manifest.weights["step"]
    assert {weight["name"] for weight in weights} >= matrices
    assert {weight["bits"] for weight in weights} == {BITS[precision]}
    left = onnx.load_model_from_string(bundle.graph("step")).graph.initializer
    floats = {t.name for t in left if t.data_type == onnx.TensorProto.FLOAT and len(t.dims) > 1}
    assert all(name.endswith(".scales") for name in floats)
    assert 0 < exported.parity.rms_diff_outputs < TOLERANCES[precision].rms

    spec = bundle.manifest.contract["step"]
    engine = OnnxEngine(bundle.graph("step"), spec)
    together = example(spec.feeds, 5, np.random.default_rng(1))
    results = dict(zip(spec.output_names, engine.run(together), strict=True))
    for row in range(5):
        alone = engine.run(rows(together, spec.feeds, row))
        for name, array in zip(spec.output_names, alone, strict=True):
            same = np.take(results[name], [row], axis=spec.results[name].batch_axis)
            # At int4, onnxruntime sums one row in another order than several rows on some processors.
            tolerance = 1e-5 if precision == "int4" else 0
            np.testing.assert_allclose(array, same, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("embedding", [24, 32])
@pytest.mark.parametrize("precision", PRECISIONS)
def test_tied_weights_are_stored_once_and_rows_are_what_the_output_multiplies_with(tmp_path, precision, embedding):
    model = network(tied=True, embedding=embedding)
    exported = export(Source(model, ASSETS), tmp_path / "b", precision=precision, steps=64)
    assert 0 < exported.parity.rms_diff_outputs < TOLERANCES[precision].rms
    graph = onnx.load_model_from_string(Bundle.load(tmp_path / "b").graph("step")).graph
    levels = [t for t in graph.initializer if "embedding.weight" in t.name and "scales" not in t.name]
    whole_blocks = precision != "int4" or embedding % 32 == 0
    assert len(levels) == (1 if whole_blocks else 2)
    if precision != "int8":
        return
    (scales,) = (numpy_helper.to_array(t) for t in graph.initializer if "embedding.weight.scales" in t.name)
    expected = (numpy_helper.to_array(levels[0]).T.astype(int) - 128) * scales[:, None]
    np.testing.assert_allclose(expected, model.embedding.weight.detach(), atol=scales.max() / 2 + 1e-6)


@pytest.mark.parametrize("target", ["torchscript", "executorch"])
@pytest.mark.parametrize("shape", [{"cell": "gru", "initial": "learned"}, {"cell": "lstm", "tied": True}], ids=str)
def test_int8_of_the_other_targets(tmp_path, shape, target):
    model = network(**shape, layers=1)
    source = Source(model, ASSETS)
    exported = export(source, tmp_path / "b", target=target, precision="int8", steps=64)
    bundle = Bundle.load(tmp_path / "b")
    matrices = {name for name, p in model.named_parameters() if p.ndim == 2 and not name.startswith("stack.initial")}
    weights = bundle.manifest.weights["step"]
    assert {weight["name"] for weight in weights} >= matrices
    assert {weight["bits"] for weight in weights} == {8}
    assert 0 < exported.parity.rms_diff_outputs < TOLERANCES["int8"].rms
    assert inspect_bundle(tmp_path / "b")["quantised"]

    spec = bundle.manifest.contract["step"]
    engine = ENGINES[target](bundle.graph("step"), spec)
    together = example(spec.feeds, 5, np.random.default_rng(1))
    results = dict(zip(spec.output_names, engine.run(together), strict=True))
    for row in range(5):
        alone = engine.run(rows(together, spec.feeds, row))
        for name, array in zip(spec.output_names, alone, strict=True):
            expected = np.take(results[name], [row], axis=spec.results[name].batch_axis)
            np.testing.assert_allclose(array, expected, atol=1e-5)


@pytest.mark.parametrize(
    ("target", "precision"),
    [
        *(("onnx", "fp16"), ("onnx", "int8"), ("ort", "int4"), ("torchscript", "int8")),
        pytest.param("executorch", "int8", marks=pytest.mark.matrix),
    ],
)
def test_matrices_that_are_to_be_kept_are_kept(tmp_path, target, precision):
    source = Source(network(), ASSETS)
    keep = Quantization(precision, keep=("output.*", "embedding.weight"))
    bits = {}
    for name, choice in (("all", precision), ("some", keep)):
        export(source, tmp_path / name, target=target, precision=choice, steps=16)
        bits[name] = {w["name"]: w["bits"] for w in Bundle.load(tmp_path / name).manifest.weights["step"]}
    kept = {"output.weight": 32, "embedding.weight": 32}
    assert bits["some"] == {**bits["all"], **kept}
    assert not set(bits["all"].values()) & {32}


def test_what_cannot_be_kept_is_named(tmp_path):
    source = Source(network(), ASSETS)
    words = r"the pattern outptu\* \(--keep\) matches none of the matrices: .*output.weight"
    with pytest.raises(ConfigError, match=words):
        export(source, tmp_path / "b", precision=Quantization("int8", keep=("outptu*",)), steps=4)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"name": "fp32", "keep": ("x",)}, r"keep \(--keep\) leaves matrices at fp32"),
        ({"name": "int8", "block": 64}, r"block \(--block\) belongs to the precision int4, not to int8"),
        ({"name": "int4", "block": 48}, r"block 48 \(--block\) is not one of 16, 32, 64, 128"),
    ],
)
def test_impossible_options_are_named(settings, words):
    with pytest.raises(ConfigError, match=words):
        Quantization(**settings)


def test_products_of_bytes_are_exact_on_every_processor():
    """Signed weights would overflow in 16 bits on x86 processors without VNNI, where all inputs are large."""
    (graph,) = network().graphs()
    model = onnx.load_model_from_string(ONNX.write([graph], Quantization("int8"), {})[graph.spec.name].data)
    stored = {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    products = [node for node in model.graph.node if node.op_type == "MatMulIntegerToFloat"]
    assert len(products) == 3
    for node in products:
        levels = stored[node.input[1]]
        assert (levels.dtype, stored[node.input[5]]) == (np.uint8, 128)
        rows = np.random.default_rng(0).choice(np.array([0, 255], np.uint8), (8, len(levels)))
        expected = (rows.astype(int) - 128) @ (levels.astype(int) - 128) * stored[node.input[3]]
        np.testing.assert_allclose(product_of(node, rows, stored), expected.astype(np.float32), rtol=1e-6)


def product_of(node, rows, stored):
    """What onnxruntime computes for `node`, without its bias, from unsigned bytes (batch, inputs)."""
    names = [*node.input[:6]]
    constants = [numpy_helper.from_array(stored[name], name) for name in dict.fromkeys(names[1:])]
    alone = helper.make_node(node.op_type, names, ["y"], domain=node.domain)
    x = helper.make_tensor_value_info(names[0], onnx.TensorProto.UINT8, rows.shape)
    y = helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, None)
    opsets = [helper.make_opsetid("", 18), helper.make_opsetid(node.domain, 1)]
    model = helper.make_model(helper.make_graph([alone], "g", [x], [y], constants), opset_imports=opsets, ir_version=9)
    return onnxruntime.InferenceSession(model.SerializeToString()).run(None, {names[0]: rows})[0]


def test_larger_blocks_are_smaller_files():
    (graph,) = LanguageModel(LanguageConfig(65, layers=1)).eval().graphs()
    sizes = [len(ONNX.write([graph], Quantization("int4", block=block), {})[graph.spec.name].data) for block in BLOCKS]
    assert sizes == sorted(sizes, reverse=True)
    assert sizes[0] - sizes[1] == pytest.approx(graph_weights(graph) * 4 / 32, rel=0.05)


def graph_weights(graph):
    return sum(parameter.numel() for parameter in graph.module.parameters() if parameter.ndim == 2)


@pytest.mark.parametrize(
    ("target", "precision", "largest"),
    [
        *(("onnx", "fp16", 0.51), ("onnx", "int8", 0.27), ("onnx", "int4", 0.17)),
        *(("torchscript", "int8", 0.27), ("executorch", "int8", 0.27)),
    ],
)
def test_sizes_beside_single_precision(target, precision, largest):
    layers = 1 if target == "executorch" else 2  # whose lowering takes long
    (graph,) = LanguageModel(LanguageConfig(65, layers=layers)).eval().graphs()
    files = [TARGETS[target].write([graph], Quantization(each), {}) for each in ("fp32", precision)]
    whole, rounded = (len(each[graph.spec.name].data) for each in files)
    assert rounded <= largest * whole


def test_int8_is_the_integer_arithmetic_that_it_claims_to_be(tmp_path):
    """One LSTM step, computed by hand from the matrices in the file."""
    model = network(layers=1, hidden=24)
    (graph,) = model.graphs()
    data = ONNX.write([graph], Quantization("int8"), {})[graph.spec.name].data
    stored = {t.name: numpy_helper.to_array(t) for t in onnx.load_model_from_string(data).graph.initializer}
    table, levels, scales = (
        next(array for name, array in stored.items() if name.endswith(end))
        for end in ("embedding.weight.int8", "layers.0.gates.weight.int8", "layers.0.gates.weight.scales")
    )
    assert (table.dtype, levels.dtype) == (np.uint8, np.uint8)
    h, c = (np.random.default_rng(n).uniform(-1, 1, (1, 3, 24)).astype(np.float32) for n in (0, 1))
    token = np.array([1, 5, 9])
    x = np.concatenate([table[token].astype(int), np.rint(h[0] * 127) + 128], axis=1)
    bias = model.stack.layers[0].gates.bias.detach().numpy()
    levels = levels.astype(int) - 128
    gates = ((x.astype(int) - 128) @ levels) * scales + bias
    i, f, g, o = np.split(gates, 4, axis=1)
    expected = 1 / (1 + np.exp(-f)) * c[0] + 1 / (1 + np.exp(-i)) * np.tanh(g)
    engine = OnnxEngine(data, graph.spec)
    _, h_out, c_out = engine.run({"token": token, "h_in": h, "c_in": c})
    np.testing.assert_allclose(c_out[0], expected, atol=1e-5)
    np.testing.assert_allclose(h_out[0], np.tanh(expected) / (1 + np.exp(-o)), atol=1e-5)
    # and the matrices are those of the network, what a step of x is worth being in their rows
    embedding = model.embedding.weight.detach().numpy()
    steps = np.abs(embedding).max(axis=0) / 127
    np.testing.assert_allclose((table - 128.0) * steps, embedding, atol=steps.max() / 1.99)
    worth = np.concatenate([steps, np.full(24, 1 / 127)])[:, None]
    weight = model.stack.layers[0].gates.weight.detach().numpy()
    assert np.all(np.abs(levels * scales / worth - weight) <= 0.51 * scales / worth)


@settings(max_examples=60)
@given(st.integers(1, 5), st.integers(1, 100), st.sampled_from(BLOCKS), st.floats(1e-6, 1e6), st.integers(0, 99))
def test_blocks_of_4_bits_are_within_half_a_step(count, columns, block, size, seed):
    values = (np.random.default_rng(seed).standard_normal((count, columns)) * size).astype(np.float32)
    numbers, scales = round_blocks(values, block)
    steps = np.repeat(scales, block, axis=1)
    restored = (numbers * steps)[:, :columns]
    largest = np.max(np.abs(np.pad(values, ((0, 0), (0, -columns % block)))).reshape(count, -1, block), axis=2)
    assert np.all(np.abs(scales) <= largest / 8 * 1.0001 + 1e-29)
    plain = np.sum((np.rint(values / (steps[:, :columns])).clip(-8, 7) * steps[:, :columns] - values) ** 2)
    assert np.sum((restored - values) ** 2) == pytest.approx(plain, rel=1e-3)
    assert np.all(np.abs(restored - values) <= 0.26 * np.repeat(largest, block, axis=1)[:, :columns] + 1e-29)


class Odd(Network):
    """Matrices where no cell has them: in a convolution, in a sum, on the left of a product."""

    task = "odd"

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv1d(3, 4, 3)
        self.table = nn.Parameter(torch.randn(4, 6))
        self.left = nn.Parameter(torch.randn(5, 4))
        self.out = nn.Linear(30, 2)

    def forward(self, x, tail):
        frames = torch.cat([tail, x], dim=2)
        y = self.left @ (self.conv(frames) + self.table)
        return self.out(y.flatten(1)), frames[:, :, -2:]

    def graphs(self):
        state = StateSpec("tail", "float32", (BATCH, 3, 2))
        x, y = TensorSpec("x", "float32", (BATCH, 3, 6)), TensorSpec("y", "float32", (BATCH, 2))
        return (Graph(GraphSpec("step", (x,), (y,), (state,)), self, self),)


@pytest.mark.parametrize("precision", PRECISIONS)
def test_matrices_that_no_product_takes_are_rounded_too(tmp_path, precision):
    torch.manual_seed(0)
    export(Source(Odd().eval()), tmp_path / "b", precision=precision, steps=32)
    weights = Bundle.load(tmp_path / "b").manifest.weights["step"]
    assert sorted(sorted(weight["shape"]) for weight in weights) == [[2, 30], [3, 3, 4], [4, 5], [4, 6]]
    assert inspect_bundle(tmp_path / "b")["quantised"] == (precision != "fp16")


def test_a_loss_that_rises_too_far_writes_nothing(tmp_path, monkeypatch):
    model = network()
    ids = np.random.default_rng(0).integers(0, 11, (4, 33))
    source = Source(model, ASSETS, held_out=HeldOut({"token": ids[:, :-1]}, {"logits": ids[:, 1:]}))
    parity = export(source, tmp_path / "good", precision="int4", steps=32).parity
    assert parity.loss.tokens == 128
    with torch.no_grad():
        logits, _ = model.sequence(torch.from_numpy(ids.T[:-1].copy()), model.initial_state(4))
        expected = nn.functional.cross_entropy(logits.flatten(0, 1), torch.from_numpy(ids.T[1:].copy()).flatten())
    assert parity.loss.source == pytest.approx(expected.item(), rel=1e-5)
    assert parity.loss.artifact != parity.loss.source
    monkeypatch.setitem(TOLERANCES, "int4", replace(TOLERANCES["int4"], loss=-1.0))
    words = (
        f"the loss on held-out data rises from {parity.loss.source:.4f} to {parity.loss.artifact:.4f}, by more than -1"
    )
    with pytest.raises(ParityError, match=words):
        export(source, tmp_path / "bad", precision="int4", steps=32)
    assert not (tmp_path / "bad").exists()


def test_rounding_that_changes_the_network_writes_nothing(tmp_path):
    model = network(cell="elman-relu")
    with torch.no_grad():
        model.output.weight[:, :] = torch.randn(11, 1) * 0.01
        model.output.weight[:, 0] = 1000.0  # one weight in each block makes the steps of the others too coarse
        model.output.bias[:] = 0
    with pytest.raises(ParityError, match=r"in the root mean square, beyond 0\.5|they differ by"):
        export(Source(model, ASSETS), tmp_path / "b", precision="int4", steps=64)
    assert not (tmp_path / "b").exists()


@pytest.mark.parametrize("precision", PRECISIONS)
def test_text_goes_on_from_one_precision_to_itself(tmp_path, precision):
    model = network()
    bundle = export(Source(model, ASSETS), tmp_path / "b", precision=precision, steps=8)
    stream = Model.load(bundle.path).stream()
    stream.prefill("abc")
    assert Bundle.load(bundle.path).manifest.precision == precision
    assert len("".join(stream.decode(20))) == 20


def test_a_matrix_that_is_left_as_it_was_fails_the_export(tmp_path, monkeypatch):
    """The proof itself: quantisers that forget their work."""
    source = Source(network(), ASSETS)
    with monkeypatch.context() as patch:
        patch.setattr(PRECISIONS["int8"], "_product", lambda self, node: None)
        patch.setattr(PRECISIONS["int8"], "_store", lambda self, name: None)
        with pytest.raises(ExportError, match=r"the weights \S+ were not quantised to int8"):
            export(source, tmp_path / "b", precision="int8")

    with monkeypatch.context() as patch:
        patch.setattr("torch.nn.utils.parametrize.register_parametrization", lambda *_, **__: None)
        with pytest.raises(ExportError, match=r"keeps \S+ where it was not quantised to int8"):
            export(source, tmp_path / "b", target="torchscript", precision="int8")
    assert list(tmp_path.iterdir()) == []


@given(st.integers(0, 999))
def test_the_scale_of_a_block_is_chosen_for_its_error(seed):
    rows = np.random.default_rng(seed).standard_normal((64, 32)).astype(np.float32)
    levels, scales = round_blocks(rows, 32)
    largest = np.take_along_axis(rows, np.abs(rows).argmax(axis=1)[:, None], axis=1) / -8
    plain = np.clip(np.rint(rows / largest), -8, 7) * largest
    ours, theirs = (np.sum((each - rows) ** 2, axis=1) for each in (levels * scales, plain))
    assert np.all(ours <= theirs * 1.0001)
    assert ours.sum() < 0.99 * theirs.sum()
