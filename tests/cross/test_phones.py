"""The code of the apps for Android and iOS, as far as it runs without a phone: texts are those of Python.

Their C code runs on aarch64 in an emulator, and the functions that Java calls run in a JVM.
"""

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest
from compilers import STRICT
from conversions import convert_once
from untrained import make

from edgernn.exporters.targets.c import CodeOptions, c_target
from edgernn.runtime import Model, Sampler
from edgernn.runtime.compiled import CompiledEngine

pytestmark = pytest.mark.cross

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
LAYER = ROOT / "runtime_demo" / "c"
ANDROID = ROOT / "runtime_demo" / "android" / "app" / "src" / "main"
JAVA = ANDROID / "java" / "org" / "edgernn" / "text"
DRAWS = ROOT / "export" / "golden" / "draws.json"
OTHERS = {"top_p": 1.0, "min_p": 0.0, "repetition_penalty": 1.0, "bias": []}  # settings that the apps do not have
PROMPT, TOKENS = "The lazy fox", 1001
GIVEN = [  # the arguments of programs: the prompt, the seed, the temperature, top-k, and the number of tokens
    [PROMPT, *map(str, settings), str(TOKENS)] for settings in ((7, 0.8, 40), (2**64 - 1, 1.0, 0), (0, 0.0, 0))
]
SANITIZED = ("-O1", "-fsanitize=address,undefined", "-fno-sanitize-recover=all")
HOSTS = {  # the compiler, its options, and what runs a program, before its path
    "x86": ("gcc", SANITIZED, ()),
    "cortex-a53": ("aarch64-linux-gnu-gcc", ("-O1", "-static"), ("qemu-aarch64", "-cpu", "cortex-a53")),
    "aarch64": ("aarch64-linux-gnu-gcc", ("-O3", "-static"), ("qemu-aarch64",)),
}
BUNDLES = {  # the vocabulary, and where the weights are
    "characters": ("characters", "array"),
    "blob": ("characters", "blob"),
    "bytes": ("bytes", "array"),
}


def require(*tools):
    missing = [tool for tool in tools if not shutil.which(tool)]
    if missing:
        (pytest.fail if os.environ.get("CI") else pytest.skip)(f"not installed: {', '.join(missing)}")


@pytest.fixture(scope="module")
def bundles(tmp_path_factory):
    folder = tmp_path_factory.mktemp("bundles")
    with convert_once():
        for name, (kind, weights) in BUNDLES.items():
            make(folder / name, kind, "int8", c_target(CodeOptions(weights=weights)))
    return folder


def texts(bundle, given):
    """The text that Python draws: with the character U+FFFD at its end, if that may be incomplete, and without it."""
    _, seed, temperature, top_k, tokens = given
    model = Model.load(bundle, CompiledEngine)
    stream = model.stream(Sampler(float(temperature), int(top_k), seed=int(seed)))
    stream.prefill(PROMPT)
    text = model.tokenizer.decode([each.token for each in stream.tokens(int(tokens))])
    return {text, text.removesuffix("\ufffd")}


def flags(bundle):
    """The options with which a compiler builds the layer around the network of a bundle."""
    blob = ["-DEDGE_TEXT_BLOB"] if (bundle / "model.bin").exists() else []
    return [*STRICT, *blob, f"-I{LAYER}", f"-I{bundle}"]


def blob(bundle):
    """The last argument of programs."""
    return [path for path in [bundle / "model.bin"] if path.exists()]


@pytest.fixture(scope="module", params=BUNDLES)
def bundle(request, bundles):
    return bundles / request.param


@pytest.fixture(scope="module", params=HOSTS)
def program(request, bundle, tmp_path_factory):
    """The command of a program that streams with the layer, but its arguments."""
    compiler, options, runner = HOSTS[request.param]
    require(compiler, *runner[:1])
    code = f'#include "{LAYER / "edge_text.c"}"\n#include "{HERE / "stream.c"}"\n'
    folder = tmp_path_factory.mktemp("program")
    (folder / "stream.c").write_text(code, encoding="utf-8")
    sources = [folder / "stream.c", bundle / "model.c"]
    subprocess.run([compiler, *flags(bundle), *options, *sources, "-o", folder / "stream"], check=True)
    return [*runner, folder / "stream"]


def printed(command, **options):
    return subprocess.run(command, stdout=subprocess.PIPE, check=True, timeout=100, **options).stdout.decode()


def test_the_layer_in_c_streams_pythons_text(program, bundle):
    for given in GIVEN:
        assert printed([*program, *given, *blob(bundle)]) in texts(bundle, given)


def test_the_layer_refuses_what_it_cannot_do(program, bundle):
    assert printed([*program, *blob(bundle)]) == ""


@pytest.fixture(scope="module")
def jdk():
    require("java", "javac")
    return Path(shutil.which("javac")).resolve().parents[1]


def build_library(compiler, bundle, jdk, out):
    """Compile the library that the app for Android loads."""
    headers = [f"-I{jdk / 'include'}", f"-I{jdk / 'include' / 'linux'}"]
    sources = [ANDROID / "cpp" / "edge_text_jni.c", LAYER / "edge_text.c", bundle / "model.c"]
    command = [compiler, *flags(bundle), *headers, *sources, "-O1", "-shared", "-fPIC"]
    subprocess.run([*command, "-o", out / "libedge_text.so"], check=True)


@pytest.fixture(params=["characters", "blob"])
def library(request, bundles, jdk, tmp_path):
    """A folder with the library for this machine and the classes that use it, and its bundle."""
    bundle = bundles / request.param
    build_library("gcc", bundle, jdk, tmp_path)
    classes = [JAVA / "NativeText.java", HERE / "StreamText.java"]
    subprocess.run(["javac", "-Xlint:all", "-Werror", "-d", tmp_path, *classes], check=True)
    return tmp_path, bundle


def test_the_library_is_built_for_phones(bundles, jdk, tmp_path):
    require("aarch64-linux-gnu-gcc")
    build_library("aarch64-linux-gnu-gcc", bundles / "characters", jdk, tmp_path)


def test_java_streams_pythons_text(library):
    folder, bundle = library
    java = ["java", "-Xcheck:jni", f"-Djava.library.path={folder}", "-cp", folder, "org.edgernn.text.StreamText"]
    for given in GIVEN:
        assert printed([*java, *given, *blob(bundle)]) in texts(bundle, given)


@pytest.mark.skipif(not shutil.which("kotlinc"), reason="kotlinc is not installed")
@pytest.mark.parametrize("library", ["characters"], indirect=True)
def test_kotlin_streams_pythons_text_and_draws_the_golden_tokens(library):
    folder, bundle = library
    sources = [JAVA / "EdgeText.kt", JAVA / "Sampler.kt", HERE / "StreamText.kt"]
    jar = folder / "text.jar"
    subprocess.run(["kotlinc", "-Werror", "-cp", folder, *sources, "-include-runtime", "-d", jar], check=True)
    java = ["java", f"-Djava.library.path={folder}", "-cp", f"{jar}:{folder}", "org.edgernn.text.StreamTextKt"]
    for given in GIVEN:
        assert printed([*java, *given]) in texts(bundle, given)
    samplers, lines, tokens = zip(*golden_draws(), strict=True)
    drawn = printed(java, input="\n".join(lines).encode())
    assert {(each["temperature"], each["top_k"]) for each in samplers} > {(0.0, 0), (1.0, 0)}
    assert tuple([*map(int, line.split())] for line in drawn.splitlines()) == tokens


def golden_draws():
    """Yield the settings, the line for the program and the tokens of each case with the settings that the apps have."""
    for case in json.loads(DRAWS.read_text(encoding="utf-8")):
        given = case["sampler"]
        if OTHERS.items() <= given.items():
            words = [given["seed"], given["temperature"], given["top_k"], len(case["tokens"]), *case["logits"]]
            yield given, " ".join(map(str, words)), case["tokens"]


def test_the_swift_package_gets_the_code_of_a_bundle(bundles, tmp_path):
    require("make", "clang")
    shutil.copytree(ROOT / "runtime_demo", tmp_path / "runtime_demo", ignore=shutil.ignore_patterns("node_modules"))
    code = tmp_path / "runtime_demo" / "ios" / "Sources" / "CEdgeText"
    subprocess.run(["make", "-C", code.parents[1], f"BUNDLE={bundles / 'characters'}"], check=True)
    assert {file.name for file in code.rglob("*.*")} == {"edge_text.c", "edge_text.h", "model.c", "model.h"}
    subprocess.run(["clang", *STRICT, f"-I{code / 'include'}", *code.glob("*.c"), "-fsyntax-only"], check=True)
