"""The kernels of the C target: equal bits at every level of instructions, and equal to an oracle in numpy."""

import ctypes
import subprocess

import numpy as np
import pytest
from compilers import COMPILERS, NEEDS_COMPILER, compile_c, kernel_source

from edgernn.exporters.c.packing import BLOCK, GROUP, PANEL, TILE, pack_bytes, pack_nibbles, pack_panels, padded

pytestmark = NEEDS_COMPILER

SIZES = [(1, 1), (3, 16), (4, 17), (30, 32), (33, 48), (64, 63), (97, 80), (128, 160), (260, 129)]  # inputs, outputs

SANITIZERS = ("-fsanitize=address,undefined", "-fno-sanitize-recover=all")
MAIN = """
#include <stdio.h>

int main(void)
{
    int level;
    for (level = 0; level <= K_level(); level++)
        printf("%llx\\n", (unsigned long long)hash_of_kernels(level));
    return 0;
}
"""
ANY = COMPILERS[:1]
FLAGS = {
    ("-O3",): ANY,
    ("-O3", "-DK_PORTABLE"): ANY,
    ("-O0",): [],
    ("-Os", "-DK_PORTABLE"): [],
    ("-std=gnu11", "-O3", "-march=native"): [],  # which contracts products and sums unless it is told not to
}
BUILDS = [
    pytest.param(
        (compiler, *flags), id=" ".join((compiler, *flags)), marks=[] if compiler in fast else pytest.mark.slow
    )
    for flags, fast in FLAGS.items()
    for compiler in COMPILERS
]


@pytest.fixture(scope="module", params=BUILDS)
def run(request, tmp_path_factory):
    """Call a kernel at every level, assert that all levels give the same bits, and return the results."""
    source = tmp_path_factory.mktemp("kernels") / "kernels.c"
    source.write_text(kernel_source("K"), encoding="utf-8")
    compiler, *flags = request.param
    library = ctypes.CDLL(compile_c(source, source.with_suffix(".so"), compiler, "-shared", "-fPIC", *flags))

    def call(name, results, *arguments):
        """results: for each, the number of elements and their type."""
        first = None
        for level in range(library.K_level() + 1):
            arrays = [misaligned(np.full(count, 77, dtype)) for count, dtype in results]
            values = [misaligned(each) if isinstance(each, np.ndarray) else each for each in arguments]
            getattr(library, name)(level, *map(as_c, (*arrays, *values)))
            first = first or arrays
            for array, other in zip(arrays, first, strict=True):
                np.testing.assert_array_equal(array.view(np.uint8), other.view(np.uint8), f"level {level}")
        return first

    return call


def misaligned(array):
    """Return a copy whose address is a multiple of the size of an element, but not of two."""
    size = array.itemsize
    memory = np.zeros(array.nbytes + 64 + size, np.uint8)
    begin = -memory.ctypes.data % 64 + size
    copy = memory[begin : begin + array.nbytes].view(array.dtype)
    copy[:] = array.ravel()
    return copy


def as_c(value):
    if isinstance(value, np.ndarray):
        return ctypes.c_void_p(value.ctypes.data)
    return ctypes.c_float(value) if isinstance(value, float) else ctypes.c_int(value)


def floats(rng, *sizes):
    return rng.standard_normal(sizes).astype(np.float32)


@pytest.mark.parametrize(("inputs", "outputs"), SIZES)
def test_product_of_floats(run, inputs, outputs):
    rng = np.random.default_rng(inputs)
    x, w, bias = floats(rng, inputs), floats(rng, inputs, outputs), floats(rng, outputs)
    expected = np.zeros(outputs, np.float32)
    for value, row in zip(x, w, strict=True):
        expected += value * row
    expected += bias
    bias = padded(bias, PANEL)
    (y,) = run("product_f32", [(len(bias), "f4")], x, pack_panels(w), bias, inputs, outputs)
    np.testing.assert_array_equal(y[:outputs], expected)


@pytest.mark.parametrize("extreme", [False, True])
@pytest.mark.parametrize(("inputs", "outputs"), SIZES)
def test_product_of_bytes(run, inputs, outputs, extreme):
    rng = np.random.default_rng(outputs)
    x = rng.choice([0, 255], inputs) if extreme else rng.integers(0, 256, inputs)
    w = rng.choice([-127, 127], (inputs, outputs)) if extreme else rng.integers(-127, 128, (inputs, outputs))
    scale, bias = np.abs(floats(rng, outputs)), floats(rng, outputs)
    expected = ((x - 128) @ w).astype(np.float32) * scale + bias
    offset = (128 * w.sum(axis=0)).astype(np.int32)
    columns = [padded(each, TILE) for each in (scale, bias, offset)]
    bytes_ = padded(x.astype(np.uint8), GROUP, fill=77)  # zeros among the weights, so that the filling does not matter
    sizes = len(bytes_), outputs
    (y,) = run("product_u8", [(len(columns[0]), "f4")], bytes_, pack_bytes(w.astype(np.int8)), *columns, *sizes)
    np.testing.assert_array_equal(y[:outputs], expected)


def rounded(x):
    """The oracle of round_blocks: bytes, scales and offsets of rows of 32."""
    largest = np.abs(x).max(axis=1)
    with np.errstate(divide="ignore"):
        factor = np.where(largest > 0, np.float32(127) / largest, np.float32(0))
    integers = np.rint(x * factor[:, None]).astype(np.int32)
    return integers, largest / np.float32(127), -8 * integers.sum(axis=1)


def test_blocks_are_rounded(run):
    rng = np.random.default_rng(0)
    x = floats(rng, 9, BLOCK) * np.float32(10) ** rng.integers(-30, 30, (9, 1)).astype(np.float32)
    x[3] = 0
    x[4, 1:] = 0
    x[5] = np.resize([127, 0.5, 1.5, -0.5, -2.5], BLOCK)  # halves, which go to even numbers
    results = run("round_blocks", [(x.size, "i1"), (len(x), "f4"), (len(x), "i4")], x, len(x))
    for result, expected in zip(results, rounded(x), strict=True):
        np.testing.assert_array_equal(result, expected.ravel())


def test_a_block_of_the_smallest_numbers_is_zero(run):
    x = np.zeros((2, BLOCK), np.float32)
    x[0, ::3], x[1, 5] = 1e-42, -1e-38
    bytes_, _, offsets = run("round_blocks", [(x.size, "i1"), (2, "f4"), (2, "i4")], x, 2)
    assert not bytes_.any()
    assert not offsets.any()


@pytest.mark.parametrize("extreme", [False, True])
@pytest.mark.parametrize(("inputs", "outputs"), SIZES)
def test_product_of_halves_of_bytes(run, inputs, outputs, extreme):
    rng = np.random.default_rng(inputs + outputs)
    blocks, tiles = -(-inputs // BLOCK), -(-outputs // PANEL)
    x = padded(floats(rng, inputs), BLOCK)
    x = np.sign(x) if extreme else x
    w = rng.choice([0, 15], (outputs, inputs)) if extreme else rng.integers(0, 16, (outputs, inputs))
    factors, bias = floats(rng, outputs, blocks), floats(rng, outputs)
    integers, scales, offsets = rounded(x.reshape(blocks, BLOCK))
    wide = np.pad(w - 8, ((0, 0), (0, -inputs % BLOCK)))
    expected = np.zeros(outputs, np.float32)
    for block in range(blocks):
        sums = wide[:, block * BLOCK : (block + 1) * BLOCK] @ integers[block]
        expected += sums.astype(np.float32) * (factors[:, block] * scales[block])
    expected += bias
    bytes_, offsets = integers.astype(np.int8), offsets.astype(np.int32)
    factors = np.pad(factors, ((0, -outputs % PANEL), (0, 0))).reshape(tiles, PANEL, blocks).transpose(0, 2, 1)
    packed = pack_nibbles(w), np.ascontiguousarray(factors), padded(bias, PANEL)
    (y,) = run("product_u4", [(tiles * PANEL, "f4")], bytes_, scales, offsets, *packed, blocks, outputs)
    np.testing.assert_array_equal(y[:outputs], expected)


@pytest.mark.parametrize("count", [1, 31, 32, 95, 128])
def test_row_of_halves_of_bytes(run, count):
    rng = np.random.default_rng(count)
    halves, factors = rng.integers(0, 256, -(-count // 2)).astype(np.uint8), floats(rng, -(-count // BLOCK))
    numbers = np.stack([halves & 15, halves >> 4], axis=-1).ravel()[:count].astype(np.int32) - 8
    (y,) = run("row_u4", [(count, "f4")], halves, factors, count)
    np.testing.assert_array_equal(y, numbers.astype(np.float32) * np.repeat(factors, BLOCK)[:count])


@pytest.mark.parametrize("count", [1, 15, 64, 1001])
def test_elements(run, count):
    rng = np.random.default_rng(count)
    x = floats(rng, count) * np.float32(8)
    x[: min(count, 8)] = np.array([np.inf, -np.inf, 3e38, -3e38, 0.05, -0.15, 1e-40, -0.0], np.float32)[:count]
    step = 0.1
    kinds = [(count, "f4"), (count, "f4"), (count, "i4"), (count, "u1")]
    tanhs, sigmoids, integers, bytes_ = run("loop", kinds, x, step, count)
    wide = x.astype(np.float64)
    np.testing.assert_allclose(tanhs, np.tanh(wide), rtol=0, atol=4.1e-7)
    np.testing.assert_allclose(sigmoids, 1 / (1 + np.exp(-np.clip(wide, -50, 50))), rtol=0, atol=2.4e-7)
    np.testing.assert_array_equal(integers, np.rint(np.clip(x, -128, 128)))
    np.testing.assert_array_equal(bytes_, np.rint(np.clip(np.clip(x, -99, 99) / np.float32(step), -128, 127)) + 128)


@pytest.mark.slow
@pytest.mark.skipif("gcc" not in COMPILERS, reason="gcc, which brings its sanitizers, is not installed")
@pytest.mark.parametrize("flags", [("-O1",), ("-O1", "-DK_PORTABLE")], ids=" ".join)
def test_sanitizers_find_nothing(tmp_path, flags):
    source = tmp_path / "kernels.c"
    source.write_text(kernel_source("K", "exercise") + MAIN, encoding="utf-8")
    program = compile_c(source, tmp_path / "kernels", "gcc", "-g", *SANITIZERS, *flags)
    result = subprocess.run([program], capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    assert len(set(result.stdout.split())) == 1
