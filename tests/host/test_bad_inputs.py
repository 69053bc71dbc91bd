"""Bad inputs: what the command line and the library say of each. One line that names the culprit and the remedy."""

import io
import json
import pickle
import shlex
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from gallery import write_image
from PIL import Image
from tasks import write_tone
from tiny import TinyLanguage, write_captioner, write_namesake, write_sound_classifier, write_text_classifier

import edgernn
from edgernn.contract import Contract, GraphSpec, TensorSpec
from edgernn.errors import ConfigError, ContractError, EdgeRNNError, SnapshotError
from edgernn.runtime import Model
from edgernn.runtime.benchmark import measure

BIG = 10**23


@pytest.fixture(scope="module")
def workplace(trained, corpus, tmp_path_factory):
    """A folder with a run, bundles, and files that are broken in all ways."""
    folder = tmp_path_factory.mktemp("bad")
    shutil.copytree(trained, folder / "runs" / "fox")
    shutil.copy(corpus, folder / "fox.txt")
    language = TinyLanguage.random()
    language.write(folder / "bundles" / "tiny", provenance={"run": "young"})
    language.write(folder / "bundles" / "far", target="tflite")
    write_captioner(folder / "bundles" / "captioner")
    write_namesake(folder / "bundles" / "adopted")
    for name, file in (("cut", "step.onnx"), ("changed", "tokenizer.json"), ("junk", "bundle.json")):
        _break(language.write(folder / "bundles" / name) / file)
    shutil.copytree(trained, folder / "runs" / "notes")
    (folder / "runs" / "notes" / "diary.txt").write_text("dear diary")
    shutil.copytree(trained, folder / "runs" / "damaged")
    (folder / "runs" / "damaged" / "config.json").write_text('{"task": "language"')
    (folder / "empty").mkdir()
    (folder / "other").mkdir()
    (folder / "other" / "letter.md").write_text("dear reader")
    (folder / "dangling").symlink_to("nowhere")
    (folder / "link").symlink_to("empty")
    _write_sequences(folder)
    for name, content in FILES.items():
        (folder / name).write_bytes(content)
    torch.save({"weight": object()}, folder / "pickle.pth")
    (folder / "pickle.npz").write_bytes(pickle.dumps({"a": 1}))
    write_image(folder / "noise.png")
    return folder


def _write_sequences(folder):
    """Bundles that label sequences, and data of which one file in each folder is wrong."""
    write_sound_classifier(folder / "bundles" / "loudness")
    write_text_classifier(folder / "bundles" / "letters", labels=["a", "b", "c"])
    for name in ("good", "silent", "cut", "text", "unknown", "single"):
        (folder / "sounds" / name).mkdir(parents=True)
        for word in ("loud_1", "loud_2", "faint_1", "faint_2"):
            write_tone(folder / "sounds" / name / f"{word}.wav", 300)
    tone = (folder / "sounds" / "good" / "loud_1.wav").read_bytes()
    (folder / "sounds" / "silent" / "loud_3.wav").write_bytes(tone[:40] + bytes(4))
    (folder / "sounds" / "cut" / "loud_3.wav").write_bytes(tone[:-100])
    (folder / "sounds" / "text" / "loud_3.wav").write_text("seven")
    (folder / "sounds" / "unknown" / "shrill_3.wav").write_bytes(tone)
    for path in (folder / "sounds" / "single").glob("*_2.wav"):
        path.unlink()
    (folder / "names").mkdir()
    (folder / "names" / "one.txt").write_text("only\nthis\n")
    (folder / "names" / "none.txt").write_text("\n\n")
    for place, size in enumerate([(9, 9), (9, 9), (9, 9), (12, 9)]):
        path = folder / "films" / ("up", "down")[place % 2] / f"{place}.gif"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", size, "red").save(path)


FILES = {
    "empty.txt": b"",
    "network.py": b"import torch",
    "empty.onnx": b"",
    "text.onnx": b"this is not a model",
    "lone.ort": b"\0\0\0\0ORTM and more",
    "lone.pte": b"\0\0\0\0ET12 and more",
    "binary.txt": b"a\0b" * 100,
    "latin.txt": "é".encode("latin-1") * 100,
    "short.txt": b"abcdefghijklmnopqr",
    "cut.png": b"\x89PNG\r\n\x1a\n",
    "lines.jsonl": b'{"text": "a"}\nnot json\n',
    "state.bin": b"no snapshot",
}


def _break(path):
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 0xFF
    path.write_bytes(data)


NEW = "--out new"
SCENES = Path(edgernn.__file__).parent / "cli" / "demo" / "scenes"
RUN = "run bundles/tiny"
TRAIN = f"train language fox.txt {NEW}"
ROWS = [
    # Usage
    ("", "Missing command"),
    ("train", "Missing command"),
    ("frobnicate", "No such command 'frobnicate'"),
    ("run", "(see edgernn run --help)"),
    ("export runs/fox", "Missing option '--out' (see edgernn export --help)"),
    ("run bundles/tiny --nope", "No such option: --nope"),
    ("run bundles/tiny --temp 1", "No such option: --temp; did you mean --temperature?"),
    ("export runs/fox --target onnx", "No such option: --target; did you mean --to?"),
    (
        "train fox.txt",
        "first (language, caption, classify, tag, translate, glimpse, draw, pens or paint), as in "
        "edgernn train language fox.txt --out runs/fox",
    ),
    (
        "train none.txt --out new",
        "first (language, caption, classify, tag, translate, glimpse, draw, pens or paint), as in "
        "edgernn train language none.txt --out runs/none",
    ),
    (
        "train other",
        "first (language, caption, classify, tag, translate, glimpse, draw, pens or paint), as in "
        "edgernn train TASK other --out runs/other",
    ),
    ("train langauge fox.txt", "No such command 'langauge'. Did you mean 'language'?"),
    ("train language --lanes 3 --resume runs/fox", "--lanes is now --batch-size"),
    # A path that leads to something else of edgernn's, or to nothing
    ("run runs/fox", "runs/fox is a run, and not a bundle: export it with edgernn export runs/fox --out BUNDLE"),
    ("bench runs/fox", "runs/fox is a run, and not a bundle: export it"),
    ("caption runs/fox noise.png", "runs/fox is a run, and not a bundle: export it"),
    ("verify runs/fox", "runs/fox is a run, and not a bundle: export it"),
    ("inspect runs/fox", "runs/fox is a run, and not a bundle or an ONNX file: export it"),
    (f"adopt runs/fox {NEW}", "runs/fox is a run, and not an ONNX file"),
    (f"export bundles/tiny {NEW}", "bundles/tiny is a bundle, made from the run young, and not a run: name the run"),
    ("verify bundles/tiny --against bundles/far", "bundles/far is a bundle, and not a run: name the run"),
    ("plot bundles/tiny", "bundles/tiny is a bundle, made from the run young, and not a run: name the run"),
    ("inspect gradients bundles/tiny", "bundles/tiny is a bundle, made from the run young, and not a run"),
    ("train language --resume bundles/tiny", "bundles/tiny is a bundle, made from the run young, and not a run"),
    (f"{TRAIN} --from bundles/tiny", "bundles/tiny is a bundle, made from the run young, and not a run"),
    (f"adopt bundles/tiny {NEW}", "bundles/tiny is a bundle, made from the run young, and not an ONNX file"),
    (
        f"export network.py {NEW}",
        "network.py is not a run: a module in a Python file is exported in Python, with "
        "edgernn.exporters.export_module: see docs/export.md",
    ),
    *(
        (f"{command} bundles/tiny/bundle.json", ": name the bundle that it belongs to, bundles/tiny")
        for command in ("run", "bench", "verify", "inspect", "evaluate")
    ),
    ("inspect bundles/tiny/tokenizer.json", ": name the bundle that it belongs to, bundles/tiny"),
    ("run bundles/tiny/step.onnx", "and not a bundle: name the bundle that it belongs to, bundles/tiny"),
    (f"export runs/fox/weights.safetensors {NEW}", "and not a run: name the run that it belongs to, runs/fox"),
    ("run text.onnx", "text.onnx is an ONNX file, and not a bundle: make a bundle of it with edgernn adopt text.onnx"),
    ("run bundles", "bundles is not a bundle: it has no bundle.json; it holds adopted, captioner"),
    ("evaluate runs --text fox.txt", "it holds fox, notes: name one of them"),
    ("run nope", "there is no nope"),
    ("evaluate nope --text fox.txt", "there is no nope"),
    (f"export nope {NEW}", "there is no nope"),
    ("inspect nope.onnx", "there is no nope.onnx"),
    (f"adopt nope.onnx {NEW}", "there is no nope.onnx"),
    ("run dangling", "dangling is a symbolic link to nowhere, which does not exist"),
    (f"export dangling {NEW}", "dangling is a symbolic link to nowhere, which does not exist"),
    ("run empty", "empty is an empty directory, and not a bundle"),
    ("plot other", "other is not a run: it has no config.json"),
    (f"{TRAIN} --from other", "other is not a run: it has no config.json"),
    ("evaluate other --text fox.txt", "other is not a run or a bundle: it has no config.json and no bundle.json"),
    ("inspect empty.onnx", "empty.onnx is an empty file, and not a bundle or an ONNX file"),
    ("inspect lone.ort", "lone.ort is an ONNX Runtime (.ort) file, and not a bundle or an ONNX file"),
    ("inspect lone.pte", "lone.pte is an ExecuTorch (.pte) file, and not a bundle or an ONNX file"),
    ("inspect text.onnx", "text.onnx is not an ONNX file, or a damaged one"),
    (f"adopt short.txt {NEW}", "short.txt is not an ONNX file, or a damaged one"),
    ('run ""', "BUNDLE is empty: name a file or a directory"),
    # Damage
    ("run bundles/cut", "bundles/cut: step.onnx was changed: its SHA-256"),
    ("run bundles/changed", "bundles/changed: tokenizer.json was changed: its SHA-256"),
    ("run bundles/junk", "bundles/junk: bundle.json"),
    ("run bundles/far", "bundles/far is for tflite, and this version of edgernn has engines for onnx"),
    (f"export runs/damaged {NEW}", "runs/damaged: config.json is not JSON"),
    (
        "verify bundles/tiny",
        "the bundle has no golden vectors: verify it against the run that it was exported from (--against)",
    ),
    # Outputs
    ('export runs/fox --out ""', "--out is empty: name a file or a directory"),
    ('train language fox.txt --out ""', "--out is empty: name a file or a directory"),
    (
        "train language fox.txt --out runs/fox",
        "runs/fox exists; choose another name, or replace it with overwrite=True (--overwrite)",
    ),
    (
        "export runs/fox --out bundles/tiny",
        "bundles/tiny exists; choose another name, or replace it with overwrite=True (--overwrite)",
    ),
    (
        "export runs/fox --out runs/notes --overwrite",
        "runs/notes is a run, which a bundle does not replace: choose anot",
    ),
    (
        "train language fox.txt --out bundles/tiny --overwrite",
        "bundles/tiny is a bundle, made from the run young, which a run does not replace: choose another name",
    ),
    (
        "train language fox.txt --out runs/notes --overwrite",
        "runs/notes holds files that edgernn did not write there: diary.txt; it is not replaced",
    ),
    ("train language fox.txt --out other --overwrite", "other holds files that edgernn did not write there: letter.md"),
    ("train language fox.txt --out fox.txt --overwrite", "fox.txt exists and is not a directory"),
    ("train language fox.txt --out fox.txt/run", "fox.txt/run cannot be written: fox.txt is a file"),
    ("train language fox.txt --out link --overwrite", "link is a symbolic link to empty; choose another name"),
    (f"{TRAIN} --tensorboard fox.txt", "--tensorboard fox.txt: File exists"),
    (f"{TRAIN} --tensorboard new/board", "--tensorboard new/board is inside the run"),
    ("plot runs/fox --out curves.txt", "curves.txt: a picture's name ends in .png or .svg"),
    ("plot runs/fox --out nowhere/a.png", "nowhere/a.png cannot be written: there is no directory nowhere"),
    ("inspect gradients runs/fox --out g.txt", "g.txt: a picture's name ends in .png or .svg"),
    # Texts
    ("train language", "train language needs CORPUS and --out RUN, or --resume RUN"),
    (f"train language none.txt {NEW}", "none.txt: cannot be read: No such file"),
    (f"train language empty.txt {NEW}", "empty.txt is empty"),
    (f"train language binary.txt {NEW}", "binary.txt is not text: it has a zero byte at offset 1"),
    (f"train language latin.txt {NEW}", "latin.txt is not UTF-8: byte 0 is 0xe9"),
    (f"train language latin.txt {NEW} --encoding ascii", "latin.txt is not ascii: byte 0 is 0xe9; its encoding"),
    (f"train language short.txt {NEW} --held-out 0.2", "has 14 tokens, and one sequence takes 129"),
    (f"train language 'a\0b' {NEW}", "is no file"),
    (f"train language '' {NEW}", "the name of a corpus is empty"),
    (f"train language other {NEW} --glob '*.py'", "other has no files that match *.py; it has *.md"),
    (f"train language bundles/tiny {NEW}", "bundles/tiny is a bundle, made from the run young, and has no files that"),
    (f"train language other {NEW} --glob '/x*'", "--glob /x*: "),
    (f"{TRAIN} --glob '*.md'", "--glob chooses files of a directory, and no corpus is one"),
    (f"{TRAIN} --encoding rot13", "--encoding 'rot13' is no encoding of texts"),
    (f"{TRAIN} --field text", "line 1, is no JSON object: --field reads JSON lines; leave it out"),
    (f"train language stdlib {NEW} --field text", "--field says how files and standard input are read, and stdl"),
    (f"{TRAIN} --held-out ''", "cannot be read"),
    (f"{TRAIN} --held-out 0.99999", "characters, too few to hold out 0.99999 of them"),
    ("evaluate bundles/tiny --text none.txt", "none.txt: cannot be read"),
    ("evaluate bundles/tiny", "name a file with --text"),
    (f"evaluate {SCENES}", "name a data set with --data; it was trained on scenes: add --data scenes"),
    ("evaluate bundles/captioner", "name a data set with --data"),
    ("evaluate bundles/adopted --text fox.txt", "bundles/adopted is a bundle of the task adopted; edgernn evaluate"),
    (f"train language other {NEW} --glob '*.md' --held-out letter.txt", "letter.txt"),
    ("inspect bundles/tiny bundles/tiny", "edgernn inspect shows one bundle or ONNX file at a time, and 2 are named"),
    ("inspect gradients", "edgernn inspect gradients needs a RUN"),
    (f"{TRAIN} --tokenizer bpe --vocabulary 9", "bpe starts from the 256 bytes"),
    (f"{TRAIN} --from runs/fox --tokenizer bytes", "--tokenizer cannot differ from that of the run"),
    ("train language --resume runs/fox --batch-size 3", "leave out --batch-size"),
    # Numbers and choices, by the option as it is typed, and its bounds
    (f"{RUN} --seed 10^23", "--seed 10^23 is not a whole number of at least 0 and below 2^64"),
    (f"{RUN} --seed {BIG}", f"--seed {BIG} is not a whole number of at least 0 and below 2^64"),
    (f"{RUN} --seed -1", "--seed -1 is not a whole number of at least 0 and below 2^64"),
    (f"{RUN} --top-k -1", "--top-k -1 is not a whole number of at least 0 and at most 2,147,483,648"),
    (f"{RUN} --max-tokens many", "--max-tokens many is not a whole number of at least 1"),
    (f"{RUN} --max-tokens 0", "--max-tokens 0 is not a whole number of at least 1"),
    (f"{RUN} --temperature -1", "--temperature -1 is not a number of at least 0"),
    (f"{RUN} a --temperature 0.0005", "temperature 0.0005 is neither 0 nor a number of at least 0.001"),
    (f"{RUN} --temperature hot", "--temperature hot is not a number of at least 0"),
    (f"{TRAIN} --layers 1.5", "--layers 1.5 is not a whole number of at least 1"),
    (f"{TRAIN} --hidden {10**7}", "is not a whole number of at least 1 and at most 1,000,000"),
    (f"{TRAIN} --steps {10**13}", "is not a whole number of at least 1 and at most 10^12"),
    (f"{TRAIN} --steps {'9' * 5000}", "--steps 9999999999999999999999999999999999999999… is not a whole number"),
    (f"{TRAIN} --dropout 1", "--dropout 1 is not a number of at least 0 and below 1"),
    (f"{TRAIN} --learning-rate nan", "--learning-rate nan is not a number above 0"),
    (f"{TRAIN} --preset huge", "--preset huge is not one of small, tiny, medium"),
    (f"{TRAIN} --cell lstn", "--cell lstn is not one of lstm, gru, elman, elman-relu"),
    (f"{TRAIN} --tokenizer runes", "--tokenizer runes is not one of characters, bytes"),
    (f"{TRAIN} --tokenizer words --vocabulary {BIG}", "--vocabulary 1000"),
    ("bench bundles/tiny --rounds 0", "--rounds 0 is not a whole number of at least 1"),
    ("demo --minutes 0", "--minutes 0 is not a number of at least 0.01"),
    ("inspect gradients runs/fox --distance 0", "--distance 0 is not a whole number of at least 1"),
    (
        "inspect gradients runs/fox --distance 9999",
        "distance 9999 (--distance) is too far: the longest held-out sequence has",
    ),
    (
        f"export runs/fox {NEW} --to abacus",
        "the target abacus (--to) is not one of onnx, ort, c, wasm, torchscript, executorch",
    ),
    (f"export runs/fox {NEW} --precision int3", "the precision int3 (--precision) is not one that onnx has: fp32"),
    (f"export runs/fox {NEW} --precision int4 --block 1.5", "--block 1.5 is not a whole number"),
    (f"export runs/fox {NEW} --precision int4 --block 7", "block 7 (--block) is not one of 16, 32, 64, 128"),
    (f"adopt bundles/tiny/step.onnx {NEW} --carry token:many", "--carry 'many' is not a whole number"),
    # Comparisons of cells
    (f"compare fox.txt {NEW} --cells lstm,lstn", "--cells lstn is not one of lstm, gru, elman"),
    (f"compare fox.txt {NEW} --cells lstm,,gru", "--cells 'lstm,,gru' has an empty name: give names that are"),
    (f"compare fox.txt {NEW} --cells gru,gru", "--cells names gru twice"),
    (f"compare fox.txt {NEW} --cells none.py:Cell", "--cells none.py: No such file or directory"),
    (f"compare fox.txt {NEW} --cells network.py:A,x/network.py:A", "--cells names A twice"),
    (f"compare fox.txt {NEW} --seeds 0", "--seeds 0 is not a whole number of at least 1"),
    (
        f"compare fox.txt {NEW} --cells lstm --parameters 99",
        "lstm: 99 parameters (--parameters) are too few: with states of one unit",
    ),
    (f"compare fox.txt {NEW} --targets onnx,abacus", "--targets abacus is not one of onnx, ort, c"),
    (f"compare fox.txt {NEW} --precisions int3", "--precisions int3 is not one of fp32, fp16, int8, int4"),
    (f"compare short.txt {NEW}", "the training text has 16 tokens, and one sequence takes 129: give more text"),
    (f"compare nothing.txt {NEW}", "nothing.txt: cannot be read: No such file or directory"),
    (f"compare - {NEW}", "- can be read only once, and each training reads the text: save it in a file"),
    ("compare fox.txt --out other", "other exists and is not a comparison, for it has no compare.json"),
    ("compare fox.txt --out runs/fox", "runs/fox exists and is not a comparison, for it has no compare.json"),
    ("compare fox.txt --out empty.txt", "empty.txt exists and is not a comparison"),
    # Options that a command would ignore
    (
        f"export runs/fox {NEW} --block 64",
        "block (--block) belongs to the precision int4, not to fp32: leave it out",
    ),
    (
        f"export runs/fox {NEW} --keep 'a*'",
        "keep (--keep) leaves matrices at fp32, as the precision fp32 leaves all of them",
    ),
    ("inspect bundles/tiny --distance 3", "--distance goes with edgernn inspect gradients: leave it out"),
    ("inspect bundles/tiny --out a.png", "--out goes with edgernn inspect gradients: leave it out"),
    (f"adopt bundles/tiny/step.onnx {NEW} --state a:b --no-states", "--state and --no-states exclude each other"),
    (f"{RUN} --beam 3", "--beam is not an option for language bundles"),
    (f"{TRAIN} --vocabulary 9", "--vocabulary goes with --tokenizer words or bpe"),
    (f"{TRAIN} --from runs/fox --hidden 9", "--hidden cannot differ from that of the run runs/fox"),
    (f"{TRAIN} --from runs/fox --preset tiny", "--preset tiny sets --hidden, which cannot differ from that of the run"),
    ("train language --resume runs/fox --hidden 3 --seed 4", "leave out --hidden, --seed"),
    ("train language --resume runs/fox --overwrite", "leave out --overwrite"),
    ("train language --resume runs/fox --preset tiny", "leave out --preset"),
    ("train language --resume runs/fox --from runs/fox", "leave out --from"),
    ("train language --resume runs/fox --steps 3", "--steps 3 is not beyond what runs/fox was trained for: 60 steps"),
    # Labelled sequences
    (f"train classify nothing {NEW}", "there is no nothing"),
    (f"train classify empty {NEW}", "empty has no sequences: name npz files, WAV files, a folder of GIFs"),
    (f"train classify sounds/good names {NEW}", "classify is trained on one DATA, not on 2"),
    (
        f"train classify sounds/good {NEW} --kind text",
        "has no sequences of the kind text; it has .wav: name CSV files",
    ),
    (f"train classify sounds/silent {NEW}", "sounds/silent/loud_3.wav has no samples: record it again, or remove it"),
    (f"train classify sounds/cut {NEW}", "sounds/cut/loud_3.wav is cut off: it has 2,300 of 2,400 bytes of samples"),
    (f"train classify sounds/text {NEW}", "sounds/text/loud_3.wav is not a WAV file: it has 5 bytes"),
    (f"train classify sounds/single {NEW}", "sounds/single has a single example of each of its 2 classes, such as"),
    (f"train classify names {NEW}", "names has one class, one: two are needed"),
    (f"train classify films {NEW}", "films/down/3.gif has frames of 12 × 9: bring all clips to one size"),
    (
        f"train classify sounds/good {NEW} --digits empty",
        "--digits belongs to the drawn clips, and sounds/good is no",
    ),
    (f"train classify sounds/good {NEW} --window 2 --hop 3", "--window 2 is smaller than --hop 3: rows would be left"),
    ("evaluate bundles/loudness", "a classifier is evaluated on labelled sequences: name them with --data"),
    ("evaluate bundles/loudness --data names", "names has no sequences of the kind sound; it has .txt: name WAV files"),
    ("evaluate bundles/loudness --data sounds/silent", "sounds/silent/loud_3.wav has no samples"),
    (
        "evaluate bundles/loudness --data sounds/unknown",
        "shrill_3.wav is of the class shrill, which the model does not",
    ),
    ("evaluate bundles/loudness --data clips", "the drawn clips have the classes enters, bounces"),
    ("evaluate bundles/loudness --data sounds/good --confusion a.txt", "--confusion a.txt: the name must end in .png"),
    ("run bundles/loudness", "a classify bundle runs on sound files (WAV): edgernn run bundles/loudness SEQUENCE"),
    ("run bundles/loudness none.wav", "there is no none.wav"),
    ("run bundles/loudness names", "names has no files that end in .wav"),
    ("run bundles/loudness sounds/silent/loud_3.wav", "sounds/silent/loud_3.wav has no samples"),
    ("run bundles/loudness sounds/cut/loud_3.wav", "sounds/cut/loud_3.wav is cut off: it has 2,300 of 2,400 bytes"),
    ("run bundles/loudness sounds/text/loud_3.wav", "sounds/text/loud_3.wav is not a WAV file: it has 5 bytes"),
    ("run bundles/loudness a.wav --microphone", "--microphone takes the place of INPUT: leave out a.wav"),
    ("run bundles/letters --microphone", "--microphone records sound, and the bundle reads a text: leave it out"),
    ('run bundles/letters ""', "the text is empty: there is nothing to label"),
    ('run bundles/letters "  "', "the text is empty: there is nothing to label"),
    ("run bundles/letters ab cd", "takes one text, not 2: put all of it in one pair of quotation marks"),
    ("run bundles/letters ab --threshold 2", "--threshold 2 is not a number of at least 0 and at most 1"),
    # Another task
    ("caption bundles/tiny noise.png", "bundles/tiny is a bundle of the task language: drive it with edgernn run"),
    ("run bundles/captioner", "a caption bundle runs on image files"),
    ("caption bundles/captioner none.png", "there is no none.png"),
    ("caption bundles/captioner fox.txt", "fox.txt cannot be read as an image"),
    ("caption bundles/captioner cut.png", "cut.png cannot be read as an image"),
    (
        f"train caption scenes {NEW} --from runs/fox",
        "is a run of the task language, and cannot start one of the task caption",
    ),
    (
        "train caption --resume runs/fox",
        "is a run of the task language: continue it with edgernn train language --resume runs/fox",
    ),
    (
        f"train caption scenes {NEW} --encoder mobilenet_v2 --encoder-weights pickle.pth",
        "--encoder-weights pickle.pth is no file of tensors alone, and nothing else is loaded from it: save the "
        "network's state_dict() as a .safetensors file",
    ),
]


@pytest.mark.parametrize(("command", "words"), ROWS, ids=[f"{row[0][:60]}" for row in ROWS])
def test_bad_input_is_one_line_and_status_2(workplace, monkeypatch, call, command, words):
    monkeypatch.chdir(workplace)
    monkeypatch.setenv("COLUMNS", "80")
    before = sorted(workplace.rglob("*"))
    status, out, err = call(*shlex.split(command))
    assert (status, out) == (2, ""), err
    assert err.startswith("edgernn: ")
    assert err.count("\n") == 1
    assert words in err
    for foreign in ("Traceback", "Error:", "Errno", "weights_only", "pydantic", str(workplace)):
        assert foreign not in err
    assert sorted(workplace.rglob("*")) == before


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "the prompt is empty"),
        (b"caf\xe9", "standard input is not UTF-8: byte 3 is 0xe9"),
        (b"ab\xff\xfe\x00\x01", "standard input is not text: it has a zero byte at offset 4"),
        ("é".encode(), "the vocabulary has no 'é' (U+00E9)"),
    ],
)
def test_standard_input_that_cannot_be_read_is_named(workplace, monkeypatch, call, data, words):
    monkeypatch.chdir(workplace)
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(data)))
    status, out, err = call("run", "bundles/tiny")
    assert (status, out, err.count("\n")) == (2, "", 1)
    assert words in err


def test_a_bundle_of_another_run_says_of_which_run_it_is(workplace, monkeypatch, call):
    monkeypatch.chdir(workplace)
    status, out, err = call("verify", "bundles/tiny", "--against", "runs/fox")
    assert (status, out, err.count("\n")) == (1, "", 1)
    assert "bundles/tiny was exported with other weights than fox has" in err
    assert "it was made from the run young: verify it against that one" in err
    status, out, _ = call("verify", "bundles/tiny", "--against", "runs/fox", "--json")
    assert (status, json.loads(out)["passed"]) == (1, False)


def captioner(workplace):
    return Model.load(workplace / "bundles" / "captioner")


def tiny(workplace):
    return Model.load(workplace / "bundles" / "tiny")


TENSOR = TensorSpec("x", "float32", ("batch",))
CALLS = [
    (lambda at: Model.load(at / "runs" / "fox"), EdgeRNNError, "is a run, and not a bundle: export it with"),
    (lambda at: captioner(at).stream(), EdgeRNNError, "a stream of this model begins with 'image': give it with"),
    (lambda at: captioner(at).stream(), EdgeRNNError, "or describe image files with edgernn caption"),
    (lambda at: tiny(at).stream().load(at / "state.bin"), SnapshotError, "state.bin: these bytes are not a snapshot"),
    (lambda at: tiny(at).stream().load(at / "none.bin"), SnapshotError, "none.bin: cannot be read: No such file"),
    (lambda at: measure({"tiny": tiny(at)}, rounds=0), ConfigError, "rounds 0 is not a whole number of at least 1"),
    (lambda at: tiny(at).begin(batch=0), EdgeRNNError, "a batch of 0 streams cannot begin"),
    (
        lambda at: GraphSpec("step", TENSOR, (TENSOR,)),
        ContractError,
        "inputs is one TensorSpec, and not a tuple of them: a comma is missing, as in inputs=(TensorSpec(…),)",
    ),
    (lambda at: Contract(GraphSpec("step", (TENSOR,), ())), ContractError, "graphs is one GraphSpec, and not a tuple"),
    (lambda at: tiny(at).step({"token": np.zeros(1, np.int64)}), EdgeRNNError, "the state 'h' is missing"),
]


@pytest.mark.parametrize(("misuse", "kind", "words"), CALLS, ids=[words for *_, words in CALLS])
def test_misuse_of_the_library_is_a_named_error(workplace, misuse, kind, words):
    with pytest.raises(kind) as caught:
        misuse(workplace)
    assert words in str(caught.value)
