"""The whole way on a real text at real size, for a short while."""

import json

import pytest

from edgernn.cli import execute


@pytest.mark.slow
@pytest.mark.real_data
def test_shakespeare_trains_exports_and_speaks(real_data, tmp_path, capsys):
    corpus = real_data / "tinyshakespeare" / "input.txt"

    def call(*arguments):
        assert execute([*map(str, arguments), "--json"]) == 0
        return json.loads(capsys.readouterr().out)

    model = ["--layers", 1, "--embedding", 64, "--dropout", 0]
    training = ["--batch-size", 16, "--bptt", 64, "--steps", 400, "--evaluations", 2]
    trained = call("train", "language", corpus, "--out", tmp_path / "run", *model, *training)
    assert trained["best"]["chars"] == 111_539  # the usual 111,540, of which the first has nothing before it
    assert trained["best"]["nats_per_char"] < 2.1  # 400 steps are less than half a pass
    exported = call("export", tmp_path / "run", "--out", tmp_path / "bundle")
    assert exported["parity"]["max_abs_diff_outputs"] < 1e-4
    text = tmp_path / "held-out.txt"
    text.write_text(corpus.read_text()[-20_000:])
    scores = [call("evaluate", tmp_path / name, "--text", text) for name in ("run", "bundle")]
    assert scores[0]["unknown"] == 0
    assert scores[1]["nats_per_char"] == pytest.approx(scores[0]["nats_per_char"], abs=1e-5)
    said = call("run", tmp_path / "bundle", "ROMEO:\n", "--max-tokens", 300, "--seed", 0)
    assert len(said["text"]) == 300
    assert said["text"].count(" ") > 20
