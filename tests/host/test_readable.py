"""`edgernn cells` on trained networks: runs and bundles alike, and all tokenizers."""

import json

import numpy as np
import pytest

from edgernn.cli import execute
from edgernn.data.vocabulary import learn_tokenizer
from edgernn.tasks import TASKS
from edgernn.training import Trainer

TEXT = 'The "quick" fox (jumps) é日\n\tover the lazy dog.\n'


@pytest.fixture(scope="module")
def text(tmp_path_factory):
    path = tmp_path_factory.mktemp("text") / "text.txt"
    words = ["the", "quick", "brown", "fox", "jumps", "over", "the", "lazy", "dog"]
    random = np.random.default_rng(0)
    path.write_text("".join(f"{' '.join(random.choice(words, random.integers(2, 9)))}.\n" for _ in range(60)))
    return path


def found(capsys, *arguments):
    capsys.readouterr()
    assert execute(["cells", *map(str, arguments), "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def test_a_run_and_its_bundle_have_the_same_units(trained, text, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert execute(["export", str(trained), "--out", "bundle"]) == 0
    names = ("--property", "word", "--property", "position", "--property", "vowel=[aeiou]")
    of_run, of_bundle = (found(capsys, path, "--text", text, *names) for path in (trained, "bundle"))
    assert of_run["units"] == of_bundle["units"] == 2 * 2 * 24
    for one, other in zip(of_run["properties"], of_bundle["properties"], strict=True):
        assert {name: one[name] for name in ("name", "unit", "sign")} == {
            name: other[name] for name in ("name", "unit", "sign")
        }
        assert one["score"] == pytest.approx(other["score"], abs=1e-3)
    vowel = of_run["properties"][2]
    assert vowel["score"] > vowel["baseline"] + 0.1
    assert abs(vowel["baseline"] - 0.5) < 0.1


def test_a_run_of_another_task_is_refused(gallery, text, call):
    status, out, err = call("cells", gallery[0] / "run", "--text", text)
    assert (status, out, err.count("\n")) == (2, "", 1)
    assert "the bundle's task is caption, but it does not continue a text" in err


@pytest.mark.parametrize("kind", ["characters", "bytes", "words", "bpe"])
def test_the_tokens_of_a_text_end_where_their_texts_end(kind):
    text = TEXT * 3
    tokenizer = learn_tokenizer(kind, [text], {"words": 12, "bpe": 280}.get(kind))
    places = tokenizer.places(text)
    ids = tokenizer.encode(text, unknown="replace")
    assert len(places) == len(ids)
    assert places[-1] == len(text) - 1
    assert (np.diff(places) >= 0).all()
    decoder, read = tokenizer.decoder(), 0
    for token, place in zip(ids.tolist(), places.tolist(), strict=True):
        piece = decoder.push(token)
        if token == tokenizer.unknown_id:
            read = place + 1
        elif piece:
            read += len(piece)
            assert read == place + 1
            assert text[read - len(piece) : read] == piece


@pytest.mark.parametrize("tokenizer", ["bytes", "bpe"])
def test_tokens_of_several_characters_or_of_parts_of_one(tokenizer, small, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "text.txt").write_text(TEXT * 60, encoding="utf-8")
    settings = {**small, "tokenizer": tokenizer, **({"vocabulary": 280} if tokenizer == "bpe" else {})}
    for _ in Trainer.begin(TASKS["language"], ["text.txt"], tmp_path / "run", **settings).fit():
        pass
    values = found(
        capsys, "run", "--text", "text.txt", "--chars", 2000, "--property", "quotes", "--clamp", "--max-tokens", 9
    )
    assert values["characters"] == 2000
    assert (values["tokens"] > 2000) == (tokenizer == "bytes")
    assert values["properties"][0]["score"] > 0.6
