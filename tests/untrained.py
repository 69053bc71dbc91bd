"""Bundles of language models with random weights, which nothing has to train."""

from pathlib import Path

import torch

from edgernn.bundle import TOKENIZER, Manifest, new_bundle
from edgernn.contract import Contract
from edgernn.data.vocabulary import learn_tokenizer
from edgernn.exporters.quantization import Quantization
from edgernn.exporters.target import Target, write_files
from edgernn.models import weights_digest
from edgernn.tasks.language.network import LanguageModel
from edgernn.tasks.language.settings import LanguageConfig

TEXT = (
    "The quick brown fox jumps over the lazy dog’s back.\nÄpfel, naïve façade, 雨が降る 🙂, don't; it's 3.14!\n\tWhy?"
)


def make(out: Path, kind: str, precision: str, target: Target) -> None:
    """Write a bundle of a language model with random weights."""
    tokenizer = tokenizer_of(kind)
    torch.manual_seed(0)
    network = LanguageModel(LanguageConfig(len(tokenizer), embedding=44, hidden=72, layers=2)).eval()
    with torch.no_grad():
        for parameter in network.parameters():
            parameter += 0.3 * torch.randn_like(parameter)
    graphs = network.graphs()
    assets = {TOKENIZER: tokenizer.to_json().encode()}
    artifacts = target.write(graphs, Quantization(precision), assets)
    files = {**assets, **{name: data for graph in graphs for name, data in graph.files().items()}}
    contract = Contract(tuple(graph.spec for graph in graphs))
    about = {"task": "language", "precision": precision, "digest": weights_digest(network, contract)}
    finish(out, artifacts, files, {**about, "contract": contract, "provenance": {}, "parity": {}}, target)


def finish(out: Path, artifacts, files, manifest, target: Target) -> None:
    graphs = {name: artifact.name or f"{name}{target.suffix}" for name, artifact in artifacts.items()}
    with new_bundle(out) as writer:
        write_files(writer.directory, files)
        for name, artifact in artifacts.items():
            write_files(writer.directory, {graphs[name]: artifact.data, **artifact.files})
        writer.finish(Manifest(**{**manifest, "target": target.name, "graphs": graphs}))


def tokenizer_of(kind: str):
    size = {"bpe": 300, "words": 40}.get(kind)
    return learn_tokenizer(kind, [TEXT * 3], size)
