"""Two processes that train one network, as torchrun starts them."""

import json
import subprocess
import sys

import numpy as np
import pytest
import safetensors.torch
import torch
from gallery import write_gallery
from tasks import EXAMPLES
from two_processes import EXACT, LANGUAGE, OTHERS, begin, exact_settings, fit

from edgernn.errors import ConfigError, RunError
from edgernn.models.encoder import EncoderConfig, ImageEncoder
from edgernn.tasks import TASKS
from edgernn.tasks.learner import Placement
from edgernn.training import Trainer
from edgernn.training.processes import ProcessGroup
from edgernn.training.run import METRICS, WEIGHTS

TASK_NAMES = list(EXACT)


def torchrun(*arguments):
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2", *arguments]
    return subprocess.run([str(each) for each in command], capture_output=True, text=True, timeout=300, check=False)


@pytest.fixture(scope="module")
def together(corpus, tmp_path_factory):
    """The folder in which two processes trained, and what each of them found."""
    folder = tmp_path_factory.mktemp("together")
    (folder / "fox.txt").write_text(corpus.read_text())
    write_gallery(folder / "data")
    for task in ("classify", "tag", "translate", "glimpse", "draw", "pens", "paint"):
        (folder / task).mkdir()
        EXAMPLES[task].write(folder / task)
    (folder / "data" / "images" / "5.png").unlink()  # nine are left to learn from: the last batch of a pass has one
    torch.manual_seed(5)
    safetensors.torch.save_file(ImageEncoder(EncoderConfig("small", 32)).network.state_dict(), folder / "w.safetensors")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("EDGERNN_CACHE", str(folder / "cache"))
        patch.setenv("PYTHONPATH", ":".join(path for path in sys.path if path))
        done = torchrun(__file__.replace("host/test_processes.py", "two_processes.py"), folder)
        assert done.returncode == 0, done.stderr
        yield folder, [json.loads((folder / f"results-{rank}.json").read_text()) for rank in (0, 1)]


def without_times(path):
    lines = [json.loads(line) for line in (path / METRICS).read_text().splitlines()]
    return [{key: value for key, value in line.items() if key != "seconds"} for line in lines]


def test_every_task_is_trained_by_two_processes_here():
    assert TASK_NAMES == list(TASKS) == list(OTHERS)


@pytest.mark.slow
@pytest.mark.parametrize("task", TASK_NAMES)
def test_two_processes_train_what_one_does(together, task):
    """Without dropout the averaged gradients of two parts are those of the whole."""
    folder, found = together
    alone = fit(begin(folder, task, f"{task}-1", **exact_settings(folder, task)))
    assert [each[f"{task} exact"] for each in found] == [alone.step] * 2 == [EXACT[task]["steps"]] * 2
    one, two = (safetensors.torch.load((folder / f"{task}-{n}" / WEIGHTS).read_bytes()) for n in (1, 2))
    for name, tensor in one.items():
        torch.testing.assert_close(two[name], tensor, atol=1e-4, rtol=1e-3)
    lines = [without_times(folder / f"{task}-{n}") for n in (1, 2)]
    assert len(lines[0]) == EXACT[task]["evaluations"]
    for ours, theirs in zip(*lines, strict=True):
        assert ours == pytest.approx(theirs, rel=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("task", TASK_NAMES)
def test_two_processes_stop_together_and_resume_exactly(together, task):
    """One of them asked to stop after the fourth step, when the fifth had to be made."""
    folder, found = together
    assert [each[f"{task} resumed"] for each in found] == [[5, OTHERS[task]["steps"]]] * 2
    whole, cut = folder / f"{task}-whole", folder / f"{task}-cut"
    assert (cut / WEIGHTS).read_bytes() == (whole / WEIGHTS).read_bytes()
    assert without_times(cut) == without_times(whole)


@pytest.mark.slow
@pytest.mark.parametrize("task", TASK_NAMES)
def test_another_number_of_processes_cannot_go_on(together, task):
    folder, _ = together
    with pytest.raises(RunError, match="was written by 2 processes: continue with as many"):
        Trainer.resume(folder / f"{task}-cut")


@pytest.mark.slow
def test_a_start_that_fails_ends_both_processes_and_leaves_nothing(together):
    folder, found = together
    other = ["RunError", "the main process failed before training began: its message says why"]
    split = "a batch of 5 cannot be split evenly between 2 processes: choose another --batch-size"
    for task in TASK_NAMES:
        assert [each[f"{task} odd"] for each in found] == [["ConfigError", split], other]
    (kind, words), theirs = (each["missing"] for each in found)
    assert (kind, theirs) == ("CorpusError", other)
    assert "nowhere/fox.txt: cannot be read" in words
    names = [path.name for path in folder.iterdir()]
    assert not [name for name in names if "odd" in name or "missing" in name or "nowhere" in name]


@pytest.mark.slow
def test_what_processes_average(together):
    _, found = together
    for each in found:
        gradients, mean, same_shape, unchanged = each["averages"]
        assert gradients == [1.5, 2.5, None]
        assert (mean, same_shape, unchanged) == (0.5, True, True)
        assert each["of main"] == 7.0
        assert each["gathered"] == [[0], [1]]


@pytest.mark.slow
def test_processes_end_together_though_their_scores_differ(together):
    _, found = together
    evaluations, best = found[0]["differing"]
    assert evaluations == [[1, True], [2, True], [3, False], [4, False]]
    assert best == 0.5
    assert found[1]["differing"] == found[0]["differing"]


@pytest.mark.slow
def test_no_thread_of_gloo_outlives_the_group_of_processes(together):
    """One that did could abort the process while Python ends."""
    _, found = together
    assert [each["threads"] for each in found] == [[True, False]] * 2


@pytest.mark.slow
def test_one_of_two_processes_writes_and_speaks(corpus, tmp_path):
    settings = {**LANGUAGE, "steps": 4, "evaluations": 1}
    options = [word for name, value in settings.items() for word in (f"--{name.replace('_', '-')}", value)]
    out = ["--out", tmp_path / "run", "--json"]
    done = torchrun("-m", "edgernn", "train", "language", corpus, *out, *options)
    assert done.returncode == 0, done.stderr
    (line,) = done.stdout.splitlines()
    assert json.loads(line)["steps"] == 4
    assert len(without_times(tmp_path / "run")) == 1


def test_a_batch_is_split_evenly():
    places = [Placement(process=process, processes=2) for process in (0, 1)]
    assert [place.share(6) for place in places] == [slice(0, 3), slice(3, 6)]
    with pytest.raises(ConfigError, match="a batch of 5 cannot be split evenly between 2 processes"):
        places[0].share(5)


@pytest.mark.parametrize("count", [1, 2, 3, 7])
def test_every_place_of_a_batch_counts_once_however_many_processes_there_are(count):
    places = np.arange(10, 10 + count)
    parts = [Placement(process=process, processes=3).part_of(places) for process in range(3)]
    assert all(len(part) for part, _ in parts)
    counted = [place for part, weight in parts if weight for place in part.tolist()]
    assert sorted(counted) == places.tolist()
    assert [weight for _, weight in parts] == [float(process < count) for process in range(3)]


def test_one_process_alone_needs_no_others(monkeypatch):
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    group = ProcessGroup.join(torch.device("cpu"))
    assert (group.rank, group.count, group.is_main) == (0, 1, True)
    assert group.total([1.0, 2.0]) == [1.0, 2.0]
    with group.main_process_first() as is_main:
        assert is_main
    group.wait()
    tensor = torch.zeros(3)
    assert group.gather(tensor).shape == (1, 3)
    assert group.gather(tensor).data_ptr() != tensor.data_ptr()


def test_buffers_that_are_equal_everywhere_stay_the_same_bits(monkeypatch):
    """Of three processes, where a third of the sum of equal numbers may be rounded to another number."""
    monkeypatch.setattr(torch.distributed, "all_reduce", lambda tensor: tensor.copy_(tensor + tensor + tensor))
    network = torch.nn.BatchNorm1d(1000)
    network.running_mean.uniform_(-100, 100)
    before = network.running_mean.clone()
    for _ in range(10):
        ProcessGroup(torch.device("cpu"), 0, 3).average_buffers(network)
    assert torch.equal(network.running_mean, before)


def test_an_environment_that_is_not_torchruns_is_named(monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "2")
    for name in ("RANK", "MASTER_ADDR", "MASTER_PORT"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(ConfigError, match=r"the environment is not torchrun's: .*RANK"):
        ProcessGroup.join(torch.device("cpu"))
    with pytest.raises(ConfigError, match="several processes cannot train on mps: choose --device cpu"):
        ProcessGroup.join(torch.device("mps"))
