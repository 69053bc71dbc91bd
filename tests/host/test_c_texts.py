"""The C sources of texts draw, decode and encode as Python does, to the bit."""

import ctypes
import json
import math
import random
import shutil
import subprocess
from collections import deque
from importlib.resources import files
from pathlib import Path

import numpy as np
import pytest

from edgernn.data.vocabulary import learn_tokenizer
from edgernn.errors import SamplingError
from edgernn.exponential import exponentiate
from edgernn.exporters.c.tokenizer import definitions, tables
from edgernn.runtime.compiling import compiler
from edgernn.runtime.drawing import CompiledDraw
from edgernn.sampling import Generator, Sampler
from edgernn.tokenizer import Tokenizer

SOURCES = Path(str(files("edgernn.exporters.c"))) / "sources"
TESTS = Path(__file__).parents[1]
GOLDEN = TESTS.parent / "export" / "golden"
STRICT = "-std=c99 -Wall -Wextra -Wpedantic -Wconversion -Wshadow -Werror"
BUILDS = {
    "gcc-O3": f"gcc {STRICT} -O3",
    "gcc-sanitized": f"gcc {STRICT} -O1 -g -fsanitize=address,undefined -fno-sanitize-recover=all",
    "gcc-O0": f"gcc {STRICT} -O0",
    "gcc-fused": "gcc -O3 -march=native -ffp-contract=fast",
    "clang-O3": f"clang {STRICT} -O3",
    "clang-native": "clang -O3 -march=native",
}
FAST = ("gcc-O3", "gcc-sanitized")
HEADER = """
#include <stddef.h>
#include <stdint.h>
{}
typedef struct NAME_state NAME_state;
void NAME_step(NAME_state *state, int32_t token, float *logits);
#include "sampling.h"
#include "text.h"
#include "tokenizer.h"
"""


@pytest.fixture(params=[pytest.param(name, marks=[pytest.mark.slow] * (name not in FAST)) for name in BUILDS])
def build(request, tmp_path):
    """A function that compiles the sources with constants and tables, and returns one that runs the program."""
    compiler, *options = BUILDS[request.param].split()
    if shutil.which(compiler) is None:
        pytest.skip(f"{compiler} is not installed")

    def compiled(constants, tokenizer=None):
        (tmp_path / "NAME.h").write_text(f"#ifndef NAME_H\n#define NAME_H\n{HEADER.format(constants)}#endif\n")
        program = tmp_path / "texts"
        given = ["-I", tmp_path, "-I", SOURCES, TESTS / "texts.c", "-o", program]
        if tokenizer is not None:
            (tmp_path / "tables.c").write_text(tables(tokenizer))
            given += ["-DWITH_TOKENIZER"]
        subprocess.run([compiler, *options, *given], check=True)

        def run(what, data):
            return subprocess.run([program, what], input=data, stdout=subprocess.PIPE, check=True).stdout.decode()

        return run

    return compiled


def constants(vocabulary, history=64, **special):
    values = {"UNKNOWN": -1, "START": -1, "END": -1, **special, "VOCABULARY": vocabulary, "HISTORY": history}
    return "".join(f"#define NAME_{name} ({value})\n" for name, value in values.items())


def settings(sampler):
    """A line for the program, with numbers in hexadecimal digits, which lose nothing."""
    limits = [float(value).hex() for value in (sampler.top_p, sampler.min_p, sampler.repetition_penalty)]
    biases = [f"{token} {value.hex()}" for token, value in sampler.bias.items()]
    known = [sampler.seed, sampler.temperature.hex(), sampler.top_k, *limits, sampler.repetition_window]
    return " ".join(map(str, [*known, len(biases), *biases]))


def listed(numbers):
    return f"{len(numbers)} {' '.join(map(str, numbers))}"


def case(sampler, recent, draws, logits):
    return f"{settings(sampler)} {listed(recent)} {draws} {' '.join(float(value).hex() for value in logits)}\n"


def drawn(sampler, recent, draws, logits, history, forbidden):
    """The line that the program must print."""
    generator, said, tokens = Generator(sampler.seed), list(recent), []
    try:
        for _ in range(draws):
            tokens.append(sampler(logits, generator, said[-history:], forbidden))
            said.append(tokens[-1])
    except SamplingError:
        tokens.append(-1)
    return " ".join(map(str, [*tokens, generator.state]))


def test_exponentials_are_numpys(build):
    numbers = np.random.default_rng(0)
    x = np.concatenate(
        [
            -numbers.uniform(0, 700, 20_000),
            -(10.0 ** numbers.uniform(-20, 4, 5000)),
            -(np.arange(62_000) + 0.5) * math.log(2) / 64,
            [0.0, -0.0, -5e-324, -1e-310, -1e300, -np.inf],
        ]
    )
    text = "\n".join(map(float.hex, x.tolist())).encode()
    exponentiate(x)
    assert build(constants(4))("exponentials", text).split() == [*map(c_hex, x.tolist())]


def c_hex(value):
    """A number as C writes it: without zeros at the end."""
    mantissa, exponent = value.hex().split("p")
    return f"{mantissa.rstrip('0').rstrip('.') if '.' in mantissa else mantissa}p{exponent}" if value else "0x0p+0"


@pytest.mark.parametrize("vocabulary", [4, 40])
def test_draws_are_the_golden_ones(build, vocabulary):
    cases = json.loads((GOLDEN / "draws.json").read_text(encoding="utf-8"))
    cases = [each for each in cases if len(each["logits"]) == vocabulary]
    lines, expected = [], []
    for each in cases:
        given = {**each["sampler"], "seed": int(each["sampler"]["seed"])}
        given["bias"] = {token: -math.inf if value is None else value for token, value in given["bias"]}
        lines.append(case(Sampler(**given), [], len(each["tokens"]), each["logits"]))
        expected.append(each["tokens"])
    printed = build(constants(vocabulary))("draw", "".join(lines).encode()).splitlines()
    assert len(expected) == 8
    assert [[int(token) for token in line.split()[:-1]] for line in printed] == expected


ZERO = 2**64 - 0x9E3779B97F4A7C15  # the seed whose first u is 0


def some_sampler(choose, vocabulary):
    return Sampler(
        choose.choice([0, 0.001, 0.3, 0.8, 1, 2.5, 50, 1e9, 1e300]),
        choose.choice([0, 0, 1, 3, vocabulary // 2, vocabulary - 1, vocabulary, 2**31 - 1]),
        choose.choice([choose.getrandbits(64), ZERO]),
        top_p=choose.choice([1, 1, 0.9, 0.5, 0.25, 1e-9, 1e-300, 1 - 1e-12, 1 - 2**-53, choose.uniform(0.01, 1)]),
        min_p=choose.choice([0, 0, 0.05, 0.5, 1]),
        repetition_penalty=choose.choice([1, 0.5, 1.3, 1e300]),
        repetition_window=choose.choice([0, 1, 5, 8]),
        bias={
            choose.randrange(vocabulary): choose.choice([-math.inf, 1.5, -2.0, 1e6, -1e6])
            for _ in range(choose.choice([0, 0, 1, 3]))
        },
    )


def some_logits(numbers, choose, vocabulary):
    """Logits of all spreads, many of them with equal ones, and a few that are infinite or no numbers."""
    spread = choose.choice([0, 1, 3, 10, 100, 1e4, 1e30])
    if choose.random() < 0.3:
        logits = numbers.integers(0, choose.choice([1, 2, 5, 50]), vocabulary) * spread
    else:
        logits = numbers.normal(0, spread, vocabulary)
    logits = logits.astype(np.float32)
    if choose.random() < 0.1:
        logits[numbers.integers(0, vocabulary, vocabulary // 2)] = -np.inf
    if choose.random() < 0.05:
        logits[numbers.integers(0, vocabulary)] = choose.choice([np.nan, np.inf])
    if choose.random() < 0.02:
        logits[:] = -np.inf
    return logits


@pytest.mark.filterwarnings("ignore:.*encountered in:RuntimeWarning")
@pytest.mark.parametrize(("vocabulary", "cases"), [(2, 100), (41, 700), (700, 60)])
def test_draws_are_pythons(build, vocabulary, cases):
    choose, numbers, history = random.Random(vocabulary), np.random.default_rng(vocabulary), 8
    lines, expected = [], []
    for _ in range(cases):
        sampler, logits = some_sampler(choose, vocabulary), some_logits(numbers, choose, vocabulary)
        recent = [choose.randrange(vocabulary) for _ in range(choose.choice([0, 3, 20]))]
        lines.append(case(sampler, recent, 4, logits))
        expected.append(drawn(sampler, recent, 4, logits, history, [1]))
    printed = build(constants(vocabulary, history, UNKNOWN=1))("draw", "".join(lines).encode()).splitlines()
    assert printed == expected
    assert sum("-1 " in line for line in printed) in range(1, cases // 4)


@pytest.mark.filterwarnings("ignore:.*encountered in:RuntimeWarning")
@pytest.mark.parametrize(("vocabulary", "cases"), [(2, 100), (41, 700)])
def test_streams_draw_in_compiled_code_what_they_draw_in_python(tmp_path, vocabulary, cases):
    (tmp_path / "NAME.h").write_text(
        f'#include <stddef.h>\n#include <stdint.h>\n{constants(vocabulary, 8, UNKNOWN=1)}#include "sampling.h"\n'
    )
    path = tmp_path / f"draw-{vocabulary}.so"
    made = [*compiler(), "-O3", "-fPIC", "-shared", "-I", tmp_path, "-I", SOURCES, SOURCES / "sampling.c", "-o", path]
    subprocess.run(made, check=True)
    function = ctypes.CDLL(str(path)).NAME_draw
    function.argtypes = [ctypes.c_void_p] * 3
    choose, numbers, refused = random.Random(vocabulary), np.random.default_rng(vocabulary), 0
    for _ in range(cases):
        sampler, logits = some_sampler(choose, vocabulary), some_logits(numbers, choose, vocabulary)
        logits.flags.writeable = choose.random() < 0.5
        compiled = CompiledDraw(function, sampler, vocabulary=vocabulary, history=8)
        generators, recent = [Generator(sampler.seed) for _ in range(2)], deque(maxlen=sampler.history)
        for _ in range(choose.choice([1, 12])):
            results = []
            for draw, generator in zip((sampler, compiled), generators, strict=True):
                try:
                    results.append(draw(logits, generator, recent, [1]))
                except SamplingError as error:
                    results.append(str(error))
            assert results[0] == results[1]
            assert generators[0].state == generators[1].state
            refused += isinstance(results[0], str)
            recent.append(choose.randrange(vocabulary))
    assert refused


def test_a_sum_that_just_reaches_top_p_is_pythons(build):
    """Also where the order in which weights are added decides."""
    numbers, lines, expected = np.random.default_rng(5), [], []
    for seed in range(400):
        logits = numbers.normal(0, 0.5, 8).astype(np.float32)
        weights = np.sort(logits - logits.max().astype(np.float64))
        exponentiate(weights)
        sums = weights[::-1].cumsum()
        reached = float(sums[seed % 7] / sums[-1])
        for top_p in (math.nextafter(reached, 0), reached, math.nextafter(reached, 1)):
            sampler = Sampler(seed=seed, top_p=top_p)
            lines.append(case(sampler, [], 12, logits))
            expected.append(drawn(sampler, [], 12, logits, 8, []))
    assert build(constants(8))("draw", "".join(lines).encode()).splitlines() == expected


@pytest.mark.parametrize("build", ["gcc-sanitized"], indirect=True)
def test_impossible_settings_draw_nothing(build):
    """Those that Python refuses, and a window that is longer than the history."""
    plain = {"temperature": 1, "top_k": 0, "top_p": 1, "min_p": 0, "penalty": 1, "window": 8, "biases": "0"}
    impossible = {
        "temperature": [-1, 1e-9, "nan", "inf"],
        "top_k": [-1],
        "top_p": [0, -1, 1.1, "nan"],
        "min_p": [-0.1, 1.1, "nan"],
        "penalty": [0, -1, "inf", "nan"],
        "window": [-1],
        "biases": ["1 -1 0", "1 4 0", "1 0 inf", "1 0 nan", "1 0 2e6", "2 0 0 4 0", "1 2147483647 0"],
    }
    bad = [{**plain, name: value} for name, values in impossible.items() for value in values]
    bad += [{**plain, "penalty": 2, "window": 9}]
    good = [plain, {**plain, "window": 9}, {**plain, "penalty": 2}, {**plain, "biases": "1 0 -inf"}]
    lines = [f"0 {' '.join(map(str, given.values()))} 0 1 0 0 0 0\n" for given in [*bad, *good]]
    printed = build(constants(4, 8))("draw", "".join(lines).encode()).splitlines()
    assert [line == "-1 0" for line in printed] == [True] * len(bad) + [False] * len(good)


def stepped(read, token, vocabulary):
    """The network of texts.c."""
    read = (read * 31 + token) % 2**32
    return read, np.float32([((read + i) * 2654435761 % 2**32 >> 24) * 0.03125 for i in range(vocabulary)])


def generated(sampler, parts, vocabulary, end):
    """The line that the program must print."""
    generator, said, read, logits, printed = Generator(sampler.seed), [], 0, None, []
    for prompt, limit, stop in parts:
        ending = 0
        if any(not 0 <= token < vocabulary for token in prompt):
            printed.append(3)
            continue
        for token in prompt:
            read, logits = stepped(read, token, vocabulary)
            said.append(token)
        taken = 0
        while taken != limit:
            if logits is None:
                ending = 3
                break
            token = sampler(logits, generator, said)
            read, logits = stepped(read, token, vocabulary)
            said.append(token)
            if token == end:
                ending = 1
                break
            printed.append(token)
            taken += 1
            if taken == stop:
                ending = 2
                break
        printed.append(ending)
    return " ".join(map(str, [*printed, read]))


@pytest.mark.parametrize("end", [-1, 3])
def test_texts_are_pythons(build, end):
    vocabulary, samplers = 11, [Sampler(0.8, 5, 1), Sampler(0, seed=2), Sampler(3, seed=3, repetition_penalty=1.5)]
    parts = [
        [([], 4, 9), ([1, 2], 0, 9), ([], 5, 9), ([3], 7, 2), ([11], 3, 9), ([-1], 3, 9), ([], 6, 9), ([4, 5], -1, 30)],
        [([0] * 70, 200, 150), ([], -1, 80)],
    ]
    given = [(sampler, each) for sampler in samplers for each in parts]
    lines = [
        f"{settings(sampler)} {len(each)} {' '.join(f'{listed(p)} {limit} {stop}' for p, limit, stop in each)}\n"
        for sampler, each in given
    ]
    printed = build(constants(vocabulary, END=end))("generate", "".join(lines).encode()).splitlines()
    assert printed == [generated(sampler, each, vocabulary, end) for sampler, each in given]


TEXT = "a bé\n√\U0001f600~ ab"
ALPHABETS = [TEXT, TEXT + "".join(map(chr, range(0x4E00, 0x9000)))]


@pytest.mark.parametrize("alphabet", ALPHABETS, ids=["few", "many"])
def test_characters_are_encoded_as_in_python(build, alphabet):
    tokenizer = Tokenizer.characters(alphabet)
    run = build(definitions(tokenizer, 64), tokenizer)
    *texts, encoded = run("encode", TEXT.encode()).splitlines()
    assert [bytes.fromhex(text).decode() for text in texts] == ["<unk>", *sorted({*alphabet})]
    assert encoded == listed(tokenizer.encode(TEXT).tolist())
    hostile = [
        b"abc",
        b"a b\xc3",
        b"ab\xc3\xff",
        b"\x80",
        "ab\U0001f601".encode(),
        b"a\0",
        b"ab\xe2\x88",
        b"ab\xf0\x9f",
    ]
    assert [run("encode", text).splitlines()[-1] for text in hostile] == [
        str(-1 - at) for at in (2, 3, 2, 0, 2, 1, 2, 2)
    ]
    assert run("encode", b"").splitlines()[-1] == "0"


def test_bytes_are_encoded_as_in_python(build):
    tokenizer = learn_tokenizer("bytes", [])
    run = build(definitions(tokenizer, 64), tokenizer)
    *texts, encoded = run("encode", TEXT.encode()).splitlines()
    assert texts == [f"{byte:02x}" for byte in range(256)]
    assert encoded == listed(tokenizer.encode(TEXT).tolist())
    assert run("encode", b"\0\xff\xc3").splitlines()[-1] == "3 0 255 195"


@pytest.mark.parametrize("kind", ["words", "bpe"])
def test_other_vocabularies_have_no_tables(kind):
    assert tables(learn_tokenizer(kind, ["a word and another word"] * 9, 300)) is None


def test_a_vocabulary_without_characters_has_no_tables():
    assert tables(Tokenizer.characters("")) is None


def test_the_constants_are_the_vocabularys():
    expected = ["VOCABULARY 4", "HISTORY 16", "UNKNOWN 0", "START (-1)", "END (-1)"]
    assert definitions(Tokenizer.characters("abc"), 16).splitlines() == [f"#define NAME_{line}" for line in expected]


def test_fast_mathematics_is_refused(tmp_path):
    if shutil.which("gcc") is None:
        pytest.skip("gcc is not installed")
    (tmp_path / "NAME.h").write_text("#include <stdint.h>\n")
    given = ["gcc", "-ffast-math", "-fsyntax-only", "-I", tmp_path, SOURCES / "sampling.c"]
    assert (
        "-ffast-math changes results: compile without it"
        in subprocess.run(given, stderr=subprocess.PIPE).stderr.decode()
    )
