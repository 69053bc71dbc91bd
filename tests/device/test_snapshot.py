"""Snapshots with a right digest and wrong content: the parser behind the digest."""

import hashlib
import json
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgernn.errors import SnapshotError
from edgernn.runtime import Sampler


@pytest.fixture
def stream(model):
    stream = model.stream(Sampler(seed=3))
    stream.prefill("abc")
    return stream


def rebuild(data, change):
    _, version, size = struct.unpack_from("<8sII", data)
    header = json.loads(data[16 : 16 + size])
    tensors = change(header, data[16 + size : -32])
    text = json.dumps(header).encode()
    body = struct.pack("<8sII", data[:8], version, len(text)) + text + tensors
    return body + hashlib.sha256(body).digest()


def test_the_layout_is_the_documented_one(stream):
    data = stream.snapshot()
    assert data[:8] == b"edgernn\0"
    assert rebuild(data, lambda header, tensors: tensors)[-32:] == hashlib.sha256(data[:-32]).digest()
    size = struct.unpack_from("<8sII", data)[2]
    header = json.loads(data[16 : 16 + size])
    assert header["seed"] == "0000000000000003"
    assert header["tensors"][0] == {"group": "state", "name": "h", "dtype": "float32", "shape": [1, 1, 8]}
    first = data[16 + size : 16 + size + 32]
    assert struct.unpack("<8f", first) == tuple(stream.state["h"].ravel())


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda h: h.pop("tail"), "lacks 'tail'"),
        (lambda h: h.update(tail=[-1]), "-1 is not a whole number"),
        (lambda h: h.update(seed="x"), "'x' is not 16 hexadecimal digits"),
        (lambda h: h["sampler"].update(temperature=-1), "temperature -1"),
        (lambda h: h["sampler"].update(temperature=None), "None is not a number"),
        (lambda h: h["sampler"].update(temperature=10**400), "is not a number"),
        (lambda h: h["tensors"][0].update(shape=[0, 10**15]), "cut short"),
        (lambda h: h["tensors"][0].update(shape=[0] * 100), "cut short"),
        (lambda h: h.update(seed="-1"), "is not 16 hexadecimal digits"),
        (lambda h: h["tensors"][0].update(dtype="object"), "dtype 'object'"),
        (lambda h: h["tensors"][0].update(shape=[2**40]), "cut short"),
        (lambda h: h["tensors"][0].update(shape=[1, 1, 4]), "bytes follow its tensors"),
        (lambda h: h["tensors"][0].update(shape=[8, 1, 1]), "does not fit the contract"),
        (lambda h: h["tensors"][0].update(name="other"), "the state 'h' is missing"),
        (lambda h: h["tensors"][0].update(group="other"), "of 'other'"),
    ],
)
def test_a_header_that_lies_is_refused(stream, change, words):
    before = stream.snapshot()

    def apply(header, tensors):
        change(header)
        return tensors

    with pytest.raises(SnapshotError, match=words):
        stream.restore(rebuild(before, apply))
    assert stream.snapshot() == before


def test_another_version_is_refused(stream):
    data = bytearray(stream.snapshot())
    data[8] = 9
    with pytest.raises(SnapshotError, match="format 9; this edgernn reads format 1"):
        stream.restore(bytes(data))


@given(st.data())
def test_no_header_gets_past_as_anything_but_an_error_of_ours(model, data):
    stream = model.stream(Sampler(seed=3))
    stream.prefill("abc")
    junk = st.one_of(st.none(), st.booleans(), st.integers(), st.text(max_size=3), st.lists(st.integers(), max_size=2))

    def apply(header, tensors):
        place = header if data.draw(st.booleans()) else header["tensors"][data.draw(st.integers(0, 4))]
        place[data.draw(st.sampled_from(sorted(place)))] = data.draw(junk)
        return tensors

    snapshot = rebuild(stream.snapshot(), apply)
    try:
        stream.restore(snapshot)
    except SnapshotError:
        return
    text = "".join(stream.decode(5))  # whatever was let in must also run
    assert len(text) <= 5
