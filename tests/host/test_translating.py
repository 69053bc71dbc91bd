"""Translators: pairs of sentences, the vocabulary, dates, the network, its training data, and scores."""

import datetime
import gzip
import json

import numpy as np
import pytest
import torch
from tasks import EXAMPLES, write_pairs

from edgernn.bundle import Bundle
from edgernn.cli.bench import _export_all
from edgernn.contract import (
    BATCH,
    ConditionSpec,
    Contract,
    FromGraph,
    FromSteps,
    GraphSpec,
    StateSpec,
    TensorSpec,
    contract_from_json,
    contract_to_json,
)
from edgernn.data.pairs import DEV, TEST, TRAIN, Pairs, read_pairs
from edgernn.data.subwords import learn_subwords
from edgernn.engines.eager import eager_model
from edgernn.errors import ConfigError, ContractError, CorpusError, FormatError
from edgernn.exporters import TARGETS, export, verify
from edgernn.runtime import Model
from edgernn.runtime.pipelines.translate import SentenceReader, encode_sentence, translate
from edgernn.tasks import TASKS
from edgernn.tasks.translate.data import IGNORED, DataRecord, EncodedPairs, Tokenizers, batches, open_pairs, pad_targets
from edgernn.tasks.translate.dates import _written, dates
from edgernn.tasks.translate.decode import greedy
from edgernn.tasks.translate.network import Memory, Translator
from edgernn.tasks.translate.score import evaluate, score_translations
from edgernn.tasks.translate.settings import ATTENTIONS, TranslateConfig, TranslateData, TranslateEvaluation
from edgernn.training import Run, Trainer

DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
GERMAN = TranslateData(source_language="de", target_language="en")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_pairs(tmp_path_factory.mktemp("pairs"))


@pytest.fixture(scope="module")
def run(folder, tmp_path_factory):
    out = tmp_path_factory.mktemp("runs") / "run"
    for _ in Trainer.begin(TASKS["translate"], [str(folder)], out, **EXAMPLES["translate"].settings).fit():
        pass
    return Run.load(out)


def translator(vocabulary=20, **settings):
    torch.manual_seed(0)
    config = {"embedding": 6, "hidden": 8, "layers": 2, "dropout": 0.0, **settings}
    return Translator(TranslateConfig(vocabulary, vocabulary, **config)).eval().requires_grad_(False)


# Pairs of sentences


def test_each_side_may_be_packed_and_lie_in_another_directory(tmp_path):
    ours, theirs = tmp_path / "ours", tmp_path / "theirs"
    for path in (ours, theirs):
        path.mkdir()
    (ours / "train.de").write_text("eins\r\nzwei\u2028drei\n", encoding="utf-8")
    (theirs / "train.en.gz").write_bytes(gzip.compress(b"one\ntwo three\n"))
    (ours / "README.md").write_text("not a side")
    pairs = read_pairs([ours, theirs], TRAIN, "de", "en")
    assert pairs == Pairs(["eins", "zwei\u2028drei"], ["one", "two three"])
    assert read_pairs([theirs, ours], TRAIN, "en", "de") == Pairs(pairs.targets, pairs.sources)
    assert read_pairs([ours, theirs], DEV, "de", "en") is None


def test_files_of_splits_are_found_by_their_beginnings(tmp_path):
    for stem in ("val", "test_2016_flickr", "test_2017_flickr", "testament"):
        for language in ("de", "en"):
            (tmp_path / f"{stem}.{language}").write_text(f"{stem} {language}\n")
    assert read_pairs([tmp_path], DEV, "de", "en").sources == ["val de"]
    assert read_pairs([tmp_path], "test_2016_flickr", "de", "en").targets == ["test_2016_flickr en"]
    with pytest.raises(CorpusError, match="may be test_2016_flickr, test_2017_flickr: name one of them with --split"):
        read_pairs([tmp_path], TEST, "de", "en")
    (tmp_path / "dev.de").write_text("again\n")
    with pytest.raises(CorpusError, match="'dev' may be dev, val: keep the files of one of them"):
        read_pairs([tmp_path], DEV, "de", "en")
    for path in tmp_path.glob("test_2017*"):
        path.unlink()
    assert read_pairs([tmp_path], TEST, "de", "en").sources == ["test_2016_flickr de"]


def test_tables_hold_both_sides(tmp_path):
    comma, tab = tmp_path / "pairs.csv", tmp_path / "pairs.tsv"
    comma.write_text('id,en,de\n1,"one, two","eins, zwei"\n2,"a ""b""",c\n', encoding="utf-8")
    assert read_pairs([comma], TRAIN, "de", "en") == Pairs(["eins, zwei", "c"], ["one, two", 'a "b"'])
    tab.write_text('eins "zwei\tone "two\nd\te\n', encoding="utf-8")
    assert read_pairs([tab], TRAIN, "de", "en") == Pairs(['eins "zwei', "d"], ['one "two', "e"])
    tab.write_text("en\tde\none\teins\n", encoding="utf-8")
    assert read_pairs([tab], TRAIN, "de", "en") == Pairs(["eins"], ["one"])
    tab.write_text("".join(f"s{number}\tt{number}\n" for number in range(40)), encoding="utf-8")
    train, held_out = open_pairs([str(tab)], GERMAN)
    assert held_out.sources == ["s9", "s19", "s29", "s39"]
    assert sorted([*train.targets, *held_out.targets]) == sorted(f"t{number}" for number in range(40))


HOSTILE = {
    "other lengths": ({"train.de": "a\nb\nc\n", "train.en": "a\nb\n"}, "has 3 lines and .*train.en has 2.*line 3 of"),
    "an empty side": ({"train.de": "a\n \nc\n", "train.en": "a\nb\nc\n"}, "line 2 of .*train.de is empty"),
    "an empty other side": ({"train.de": "a\nb\n", "train.en": "a\n\n"}, "line 2 of .*train.en is empty"),
    "a missing side": ({"train.de": "a\n"}, "there is no train.en or train.en.gz; there are files of de"),
    "no sentence": ({"train.de": "\n\n", "train.en": "\n\n"}, "has no sentences"),
    "an empty file": ({"train.de": "", "train.en": "a\n"}, "train.de is empty"),
    "not UTF-8": ({"train.de": b"\xff\xfe\xff", "train.en": "a\n"}, "train.de is not"),
    "not packed": ({"train.de.gz": "a\n", "train.en": "a\n"}, "train.de.gz is damaged, or not a gzip file"),
    "cut off": ({"train.de.gz": gzip.compress(b"a\n" * 999)[:-9], "train.en": "a\n"}, "train.de.gz is damaged"),
    "one side twice": ({"train.de": "a\n", "train.de.gz": b"", "train.en": "a\n"}, "are the same side"),
    "a table without columns": ({"a.csv": "en,fr\na,b\n"}, "has the columns en, fr, and not de and en"),
    "a short row": ({"a.tsv": "a\tb\nc\n"}, "a.tsv, line 2: there is no column 2"),
    "an empty cell": ({"a.tsv": "a\tb\nc\t\n"}, "line 2 of column 2 is empty"),
    "another file": ({"a.txt": "a\tb\n"}, "is neither a TSV nor a CSV file"),
}


@pytest.mark.parametrize("case", HOSTILE)
def test_files_that_do_not_fit_are_refused_by_name_and_line(case, tmp_path):
    files, message = HOSTILE[case]
    for name, content in files.items():
        (tmp_path / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    tables = [tmp_path / name for name in files if name.startswith("a.")]
    with pytest.raises(CorpusError, match=message):
        read_pairs(tables or [tmp_path], TRAIN, "de", "en")


def test_languages_and_directories_must_be_named(folder, tmp_path):
    with pytest.raises(ConfigError, match=r"with --from and --to; there are files of de, en"):
        read_pairs([folder], TRAIN, "", "")
    with pytest.raises(ConfigError, match="one language"):
        read_pairs([folder], TRAIN, "de", "de")
    with pytest.raises(CorpusError, match="there is no"):
        read_pairs([tmp_path / "nowhere"], TRAIN, "de", "en")
    with pytest.raises(CorpusError, match=r"there are no files train.de and train.en"):
        open_pairs([str(tmp_path)], GERMAN)


def test_lines_that_are_empty_on_both_sides_are_left_out(tmp_path):
    (tmp_path / "train.de").write_text("a\n\nb\n")
    (tmp_path / "train.en").write_text("c\n\nd\n")
    assert read_pairs([tmp_path], TRAIN, "de", "en") == Pairs(["a", "b"], ["c", "d"], empty=1)


def test_equal_sentences_are_held_out_together(tmp_path):
    sentences = [f"Satz {number}" for number in range(40)]
    sources = [*sentences, *reversed(sentences), *map(str.lower, sentences)]
    lines = [f"{place}\t{sentence}\n" for place, sentence in enumerate(sources)]
    path = tmp_path / "pairs.tsv"
    path.write_text("en\tde\n" + "".join(lines))
    train, held_out = open_pairs([str(path)], GERMAN)
    chosen = [f"satz {number}" for number in (9, 19, 29, 39)]
    assert sorted(each.lower() for each in held_out.sources) == sorted(3 * chosen)
    assert not {each.lower() for each in train.sources} & {each.lower() for each in held_out.sources}
    assert sorted([*train.targets, *held_out.targets], key=int) == [str(place) for place in range(120)]
    _, kept = open_pairs([str(path)], GERMAN.but(lowercase=False))
    assert [each for each in kept.sources if each[0] == "s"] == chosen


def test_sentences_without_a_split_are_divided_as_they_come(tmp_path):
    path = tmp_path / "pairs.tsv"
    path.write_text("".join(f"{number}\t{number}\n" for number in range(25)) + "\n")
    train, held_out = open_pairs([str(path)], GERMAN)
    assert held_out == Pairs(["9", "19"], ["9", "19"])
    assert (len(train), train.empty) == (23, 1)
    path.write_text("9\t9\n" * 50)
    with pytest.raises(
        CorpusError, match=r"1 different sentence to translate, too few to hold some out: 10 are needed"
    ):
        open_pairs([str(path)], GERMAN)


def test_options_of_files_are_refused_for_dates():
    with pytest.raises(ConfigError, match="--from and --to name the languages of files, and dates are none"):
        open_pairs(["dates"], GERMAN)


# The vocabulary


def test_a_vocabulary_of_parts_of_words_keeps_sentences():
    sentences = ["Zwei Hunde, im Jahr 1998!", "two dogs  in 2003 <start>"]
    tokenizer = learn_subwords(sentences * 3, 80, lowercase=True)
    assert len(tokenizer) <= 80
    assert tokenizer.decode(tokenizer.encode(sentences[0])) == "zwei hunde, im jahr 1998!"
    ids = tokenizer.encode(sentences[1])
    assert tokenizer.decode(ids) == "two dogs in 2003 <start>"
    assert tokenizer.start_id not in ids
    assert [tokenizer.decode([token]) for token in tokenizer.encode("1998")[-4:]] == ["1", "9", "9", "8"]
    assert tokenizer.unknown_in("zwei ж") == ["ж"]
    kept = learn_subwords(sentences * 3, 80, lowercase=False)
    assert kept.decode(kept.encode(sentences[0])) == sentences[0]
    with pytest.raises(ConfigError, match="--vocabulary 16 is too small"):
        learn_subwords(sentences, 16, lowercase=True)


def test_words_are_encoded_alone_as_in_a_sentence():
    sentences = dates(DEV).sources
    tokenizer = learn_subwords(sentences, 120, lowercase=True)
    for sentence in sentences[:50]:
        parts = [tokenizer.encode(word) for word in sentence.split()]
        np.testing.assert_array_equal(np.concatenate(parts), tokenizer.encode(sentence))


# Dates


def test_no_date_is_in_two_splits_and_every_one_is_valid():
    splits = [set(dates(split).targets) for split in (TRAIN, DEV, TEST)]
    assert sum(map(len, splits)) == len(set.union(*splits)) == 51_500
    for split in (DEV, TEST):
        for source, target in zip(dates(split).sources, dates(split).targets, strict=True):
            day = datetime.date.fromisoformat(target)
            weekdays = [name for name in DAYS if name in source.split()]
            assert weekdays in ([], [f"{day:%a}".lower()])
    with pytest.raises(CorpusError, match="there is no split 'novel' of the dates; there is train, dev, test"):
        dates("novel")


def test_a_date_is_written_in_many_styles():
    written = {_written(datetime.date(1905, 3, 21), np.random.default_rng(seed)) for seed in range(2000)}
    assert len(written) > 200
    assert {"21.3.1905", "3/21/1905", "the twenty-first of march nineteen oh five", "1905, mar 21st"} <= written


# The network


def exported(network):
    return {graph.spec.name: graph for graph in network.graphs()}


@pytest.mark.parametrize("attention", ATTENTIONS)
@pytest.mark.parametrize("cell", ["lstm", "gru", "mingru"])
@pytest.mark.parametrize("layers", [1, 3])
def test_the_path_for_training_takes_the_deployed_steps(attention, cell, layers):
    network = translator(attention=attention, cell=cell, layers=layers)
    random = torch.Generator().manual_seed(0)
    source, target = (torch.randint(0, 20, (3, length), generator=random) for length in (5, 4))
    state, made = network.encoder.initial_state(3), []
    count = len(network.encoder.output_specs())
    for token in source.unbind(1):
        results = network.encoder(token, *state)
        made.append(results[:count])
        state = results[count:]
    memory = network.encoder.read(list(source))
    stepped = [torch.stack(parts, 1) for parts in zip(*made, strict=True)]
    stepped = stepped if attention != "none" else [stepped[0][:, -1]]
    for ours, theirs in zip([*stepped, *state], [*memory.conditions, *memory.state], strict=True):
        torch.testing.assert_close(ours, theirs)
    x, weights, last = network.decoder.sequence(target, memory)
    logits = network.decoder.logits(x)
    for place, token in enumerate(target.unbind(1)):
        results = network.decoder(token, *memory.conditions, *state)
        state = results[len(results) - len(state) :]
        torch.testing.assert_close(results[0], logits[:, place])
        if weights is not None:
            torch.testing.assert_close(results[1], weights[:, place])
    for ours, theirs in zip(state, last, strict=True):
        torch.testing.assert_close(ours, theirs)


@pytest.mark.parametrize("attention", ATTENTIONS)
def test_sentences_in_a_batch_are_translated_as_alone(attention):
    network = translator(attention=attention)
    random = torch.Generator().manual_seed(1)
    sentences = [torch.randint(0, 20, (length,), generator=random) for length in (4, 1, 7, 4, 2)]
    target = torch.randint(0, 20, (5, 6), generator=random)
    together = network.decoder.logits(network.decoder.sequence(target, network.encoder.read(sentences))[0])
    for row, sentence in enumerate(sentences):
        memory = network.encoder.read([sentence])
        alone = network.decoder.logits(network.decoder.sequence(target[[row]], memory)[0])
        torch.testing.assert_close(together[[row]], alone)


def test_attention_weights_are_zero_on_padding_and_sum_to_one():
    network = translator()
    memory = network.encoder.read([torch.tensor([3, 4, 5]), torch.tensor([6])])
    _, weights, _ = network.decoder.sequence(torch.tensor([[1, 7], [1, 8]]), memory)
    torch.testing.assert_close(weights.sum(dim=2), torch.ones(2, 2))
    assert not weights[1, :, 1:].any()
    with pytest.raises(ConfigError, match="size of its vocabulary"):
        Translator(TranslateConfig())


def test_memory_is_joined_and_taken_apart():
    network = translator()
    parts = [network.encoder.read([torch.tensor(ids)]) for ids in ([3, 4, 5], [6])]
    whole = Memory.join(parts)
    assert whole.conditions[0].shape == (2, 3, 8)
    for row, part in enumerate(parts):
        taken = whole.take(torch.tensor([row, row]))
        size = part.conditions[2].shape[1]
        torch.testing.assert_close(taken.conditions[0][:, :size], part.conditions[0].expand(2, -1, -1))
        assert not taken.conditions[2][:, size:].any()


def test_the_contract_says_where_the_decoder_begins():
    step = exported(translator())["step"].spec
    assert step.sources == {
        "memory": FromSteps("read", "memory", "source"),
        "keys": FromSteps("read", "keys", "source"),
        "mask": FromSteps("read", "mask", "source"),
        "h": FromGraph("read", "h_out"),
        "c": FromGraph("read", "c_out"),
        "above_h": FromGraph("read", "above_h_out"),
        "above_c": FromGraph("read", "above_c_out"),
    }
    step = exported(translator(attention="none", cell="gru"))["step"].spec
    assert step.sources == {"memory": FromGraph("read", "memory"), "h": FromGraph("read", "h_out")}
    contract = Contract(tuple(graph.spec for graph in translator().graphs()))
    assert contract_from_json(json.loads(json.dumps(contract_to_json(contract)))) == contract


# The contract


def _stepped(source, axes=(BATCH, "time", 4), initial=None, states=True):
    read = GraphSpec(
        "read",
        (TensorSpec("u", "float32", (BATCH, 2)),),
        (TensorSpec("m", "float32", (BATCH, 4)),),
        (StateSpec("h", "float32", (BATCH, 4)),) if states else (),
    )
    condition = ConditionSpec("m", "float32", axes, source=source)
    state = () if initial is None else (StateSpec("s", "float32", (BATCH, 4), initial=initial),)
    return Contract((read, GraphSpec("step", (TensorSpec("x", "float32", (BATCH,)),), (), state, (condition,))))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: _stepped(FromSteps("read", "m", "place")), "no axes batch and 'place'"),
        (lambda: _stepped(FromSteps("read", "m", BATCH)), "no axes batch and 'batch'"),
        (lambda: _stepped(FromSteps("read", "h_out", "time")), "has no output 'h_out'"),
        (lambda: _stepped(FromSteps("read", "m", "time"), (BATCH, "time", 5)), "its steps are stacked along time"),
        (lambda: _stepped(FromSteps("read", "m", "time"), states=False), "runs once and not step by step"),
        (lambda: _stepped(FromSteps("step", "m", "time")), "graph step needs more than inputs to run"),
        (lambda: _stepped(FromGraph("read", "m")), r"but read.m is float32\['batch', 4\]"),
        (lambda: _stepped(FromSteps("read", "m", "time"), initial=FromGraph("read", "c_out")), "no output 'c_out'"),
        (lambda: contract_from_json(_without_axis()), "a state does not start as the steps"),
    ],
)
def test_steps_that_cannot_be_a_condition_are_refused(make, message):
    with pytest.raises(ContractError, match=message):
        make()


def _without_axis():
    contract = _stepped(FromSteps("read", "m", "time"), initial=FromGraph("read", "h_out"))
    record = contract_to_json(contract)
    record["graphs"][1]["states"][0]["initial"]["axis"] = "time"
    return record


def test_steps_of_a_graph_are_a_condition_and_its_last_state_an_initial_one():
    contract = _stepped(FromSteps("read", "m", "time"), initial=FromGraph("read", "h_out"))
    record = contract_to_json(contract)["graphs"][1]
    assert record["conditions"][0]["source"] == {"graph": "read", "output": "m", "axis": "time"}
    assert record["states"][0]["initial"] == {"graph": "read", "output": "h_out"}
    record["conditions"][0]["source"]["place"] = 1
    with pytest.raises(FormatError, match="unknown 'place'"):
        contract_from_json({"graphs": [contract_to_json(contract)["graphs"][0], record]})


# Data


def encoded(lengths):
    return EncodedPairs([np.arange(n) for n in lengths], [np.arange(n % 3 + 1) for n in lengths])


def test_a_pass_has_every_pair_once_in_batches_of_similar_length():
    lengths = np.random.default_rng(0).integers(1, 30, 500).tolist()
    pairs = encoded(lengths)
    found = batches(pairs, 16, np.random.default_rng(1))
    assert sorted(np.concatenate(found).tolist()) == list(range(500))
    assert np.mean([np.ptp([lengths[place] for place in batch]) for batch in found]) < 1.5
    again = batches(pairs, 16, np.random.default_rng(1))
    assert all(map(np.array_equal, found, again))
    other = batches(pairs, 16, np.random.default_rng(2))
    assert not all(map(np.array_equal, found, other))


def test_targets_are_padded_and_unknown_ones_ignored():
    tokenizer = learn_subwords(["ab cd"] * 4, 40, lowercase=True)
    unknown, end, start = tokenizer.unknown_id, tokenizer.end_id, tokenizer.start_id
    tokens, targets = pad_targets([np.array([5, unknown, end]), np.array([end])], tokenizer)
    assert tokens.tolist() == [[start, 5, unknown], [start, end, end]]
    assert targets.tolist() == [[5, IGNORED, end], [end, IGNORED, IGNORED]]


def test_stored_pairs_are_read_again_and_changes_are_refused(tmp_path):
    pairs, held_out = encoded([3, 1, 4]), Pairs(["ä"], ["b"])
    record = DataRecord.store("there", pairs, held_out, tmp_path)
    ours, theirs = record.open(tmp_path)
    assert theirs == held_out
    for side, expected in ((ours.sources, pairs.sources), (ours.targets, pairs.targets)):
        assert [ids.tolist() for ids in side] == [ids.tolist() for ids in expected]
    (tmp_path / "held-out.json").write_text("[]")
    with pytest.raises(CorpusError, match=r"held-out\.json is not what the run began with"):
        record.open(tmp_path)
    (tmp_path / "pairs.npz").unlink()
    with pytest.raises(CorpusError, match=r"pairs\.npz cannot be read"):
        record.open(tmp_path)


def test_long_sentences_are_left_out_of_training(folder, tmp_path):
    settings = {**EXAMPLES["translate"].settings, "longest": 6}
    trainer = Trainer.begin(TASKS["translate"], [str(folder)], tmp_path / "run", **settings)
    (note,) = trainer.notes
    kept = trainer.run.prepared.record["train"]
    assert 0 < kept < 60
    assert f"{60 - kept} pairs of sentences with more than 6 tokens" in note
    with pytest.raises(CorpusError, match="no pair of sentences has at most 2 tokens"):
        Trainer.begin(TASKS["translate"], [str(folder)], tmp_path / "none", **{**settings, "longest": 2})


# Scores


def test_translations_are_scored_in_lower_case():
    references = ["Two dogs run on the beach.", "A man sleeps."]
    assert score_translations(references, references).to_json() == {
        "bleu": pytest.approx(100),
        "exact": 1,
        "sentences": 2,
    }
    assert score_translations([each.upper() for each in references], references).exact == 1
    score = score_translations(["Two dogs run on the grass.", "a man  sleeps."], references)
    assert score.exact == 0.5
    assert 50 < score.bleu < 100
    assert str(score).endswith("50.0 % exact on 2 sentences")


def test_a_run_is_evaluated_in_its_languages(run, folder, tmp_path):
    model = eager_model(run.source())
    score, notes, _ = evaluate(model, TranslateEvaluation(data=str(folder), beam=1), lambda *_: None)
    pairs = read_pairs([folder], TEST, "de", "en")
    translations = [translate(model, sentence, 1).text for sentence in pairs.sources]
    assert (score, notes) == (score_translations(translations, pairs.targets), [])
    other = tmp_path / "other"
    other.mkdir()
    (other / "test_2016.en").write_bytes((folder / "test_2016.en").read_bytes())
    ours = tmp_path / "ours"
    ours.mkdir()
    (ours / "test_2016.de").write_bytes((folder / "test_2016.de").read_bytes())
    settings = TranslateEvaluation(data=str(ours), translations=str(other), beam=1)
    assert evaluate(model, settings, lambda *_: None).score == score
    with pytest.raises(ConfigError, match="name a data set with --data"):
        evaluate(model, TranslateEvaluation(), lambda *_: None)
    with pytest.raises(ConfigError, match="--from is about the data set of --data"):
        evaluate(model, TranslateEvaluation(source_language="de"), lambda *_: None, run.data)
    with pytest.raises(ConfigError, match="--translations are about files, and dates are none: leave them out"):
        evaluate(model, TranslateEvaluation(data="dates", translations="fr"), lambda *_: None)
    score, notes, _ = evaluate(model, TranslateEvaluation(beam=2), lambda *_: None, run.data)
    assert score.sentences == len(read_pairs([folder], DEV, "de", "en"))
    assert notes == [
        "scored on 12 sentences that the training held out, and on which it chose the best weights: name other data "
        "with --data"
    ]
    with pytest.raises(CorpusError, match="has no files of the split 'test_2030'"):
        evaluate(model, TranslateEvaluation(data=str(folder), split="test_2030"), lambda *_: None)


def test_greedy_translations_in_a_batch_are_those_of_the_device(run, folder):
    sentences = read_pairs([folder], DEV, "de", "en").sources
    model, network = eager_model(run.source()), run.network()
    found = greedy(network, sentences, Tokenizers(model.tokenizer, model.tokenizer))
    for sentence, ids in zip(sentences, found, strict=True):
        written = translate(model, sentence, 1).tokens
        assert [token for token in written if token != model.tokenizer.end_id] == ids[: len(written)]


def test_words_without_a_known_character_are_skipped_whole(run):
    model = eager_model(run.source())
    plain = encode_sentence(model, "ein hund")
    np.testing.assert_array_equal(encode_sentence(model, "犬 ein 犬犬 hund 犬", unknown="skip"), plain)
    with pytest.raises(ConfigError, match="no character of the vocabulary, so there is nothing to translate"):
        encode_sentence(model, "犬 犬犬", unknown="skip")
    reader = SentenceReader(model, unknown="skip")
    for piece in ("犬 ei", "n 犬犬 hu", "nd 犬"):
        reader.push(piece)
    assert "".join(reader.begin().decode(max_tokens=20)) == translate(model, "ein hund", 1, 20).text


def test_unknown_parts_of_another_vocabulary_are_named(run, tmp_path):
    sentences = ("ein" + " hund" * number + " 犬\n" for number in range(12))
    (tmp_path / "train.de").write_text("".join(sentences), encoding="utf-8")
    (tmp_path / "train.en").write_text("a dog\n" * 12, encoding="utf-8")
    settings = {"steps": 2, "evaluations": 1, "batch_size": 4}
    trainer = Trainer.begin(TASKS["translate"], [str(tmp_path)], tmp_path / "run", start_from=run.path, **settings)
    assert any("run has no '犬' (U+72AC): 11 of" in note for note in trainer.notes), trainer.notes
    (tmp_path / "train.en").write_text("犬犬犬\n" * 12, encoding="utf-8")
    trainer = Trainer.begin(TASKS["translate"], [str(tmp_path)], tmp_path / "other", start_from=run.path, **settings)
    assert any("33 of 44 tokens of the training text (75.00%)" in note for note in trainer.notes), trainer.notes


def test_the_command_line_names_languages_with_from_and_to(folder, tmp_path, call):
    options = [
        "--steps",
        2,
        "--hidden",
        8,
        "--embedding",
        8,
        "--vocabulary",
        60,
        "--evaluations",
        1,
        "--autocast",
        "off",
    ]
    status, _, err = call("train", "translate", folder, "--out", tmp_path / "run", *options)
    assert status == 2
    assert "name the languages of the sentences with --from and --to; there are files of de, en" in err
    status, out, err = call(
        "train", "translate", folder, "--from", "de", "--to", "en", "--out", tmp_path / "run", *options
    )
    assert status == 0, err
    status, out, err = call("evaluate", tmp_path / "run", "--data", folder, "--beam", 1, "--json")
    assert status == 0, err
    assert json.loads(out).keys() == {"bleu", "exact", "sentences"}
    begun = ["--from-run", tmp_path / "run", "--steps", 1, "--out", tmp_path / "other"]
    status, out, err = call("train", "translate", folder, *begun)
    assert status == 0, err
    assert Run.load(tmp_path / "other").origin["run"] == "run"


@pytest.mark.real_data
def test_multi30k_is_read_from_two_directories(real_data):
    pairs = read_pairs([real_data / "multi30k", real_data / "multi30k_fr"], TRAIN, "fr", "en")
    assert len(pairs) == 29_000
    assert pairs.targets[0] == "Two young, White males are outside near many bushes."
    assert len(read_pairs([real_data / "multi30k"], DEV, "de", "en")) == 1014


# A vocabulary for each language


def test_each_language_may_have_a_vocabulary_of_its_own(folder, tmp_path):
    settings = {**EXAMPLES["translate"].settings, "vocabularies": "separate", "vocabulary": 40}
    for _ in Trainer.begin(TASKS["translate"], [str(folder)], tmp_path / "run", **settings).fit():
        pass
    run = Run.load(tmp_path / "run")
    source = run.source()
    export(source, tmp_path / "bundle", steps=16)
    assert verify(tmp_path / "bundle", source, steps=16).max_share <= 1
    model = Model.load(tmp_path / "bundle")
    reads, writes = (model.text_of(graph).tokenizer for graph in ("read", "step"))
    assert reads.to_json() == Bundle.load(tmp_path / "bundle").tokenizer("read").to_json()
    assert writes.to_json() == model.tokenizer.to_json() != reads.to_json()
    assert reads.unknown_in("läuft") == []
    assert "ä" in writes.unknown_in("läuft")
    assert model.contract["read"].inputs[0].bound == len(reads)
    sentence = "ein hund läuft."
    ours, theirs = (translate(each, sentence) for each in (model, eager_model(source)))
    assert ours.tokens == theirs.tokens
    stream = model.stream(graph="read")
    stream.prefill("läuft")
    assert stream.steps == len(reads.encode("läuft"))
    score = evaluate(model, TranslateEvaluation(data=str(folder), beam=1), lambda *_: None).score
    assert score.sentences == 12


def test_peers_leave_out_c_where_it_needs_a_size(run, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("edgernn.exporters.TARGETS", {"c": TARGETS["c"]})
    assert _export_all(run.source(), tmp_path) == {}
    words = "give --size source=N to edgernn export, and the bundle to bench"
    assert words in " ".join(capsys.readouterr().err.split())
