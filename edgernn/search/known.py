"""Formulas of known cells, from which the search begins."""

from __future__ import annotations

from edgernn.search.canonical import canonical
from edgernn.search.formula import Formula, parse

__all__ = ["GRU", "KNOWN", "LSTM"]

LSTM, GRU = "LSTM", "GRU"

# Hochreiter and Schmidhuber 1997 with the forget gate of Gers et al. 2000, whose bias starts at 1; Cho et al. 2014,
# with the reset gate after the product; Jozefowicz et al. 2015; Zhou et al. 2016; Greff et al. 2017 (coupled gates);
# Feng et al. 2024; Balduzzi and Ghifary 2016 (typed); Elman 1990.
_TEXTS = {
    LSTM: """
        i = sigmoid(linear(x, h)); f = sigmoid(linear(x, h) + 1); o = sigmoid(linear(x, h)); g = tanh(linear(x, h))
        c' = f * c + i * g; h' = o * tanh(c')
    """,
    GRU: """
        r = sigmoid(linear(x, h)); z = sigmoid(linear(x, h)); n = tanh(linear(x) + r * linear(h))
        h' = (1 - z) * n + z * h
    """,
    "MUT1": """
        z = sigmoid(linear(x)); r = sigmoid(linear(x, h)); n = tanh(linear(r * h) + tanh(linear(x)))
        h' = z * n + (1 - z) * h
    """,
    "MUT2": """
        z = sigmoid(linear(x, h)); r = sigmoid(linear(x, h)); n = tanh(linear(x, r * h))
        h' = z * n + (1 - z) * h
    """,
    "MUT3": """
        z = sigmoid(linear(x, tanh(h))); r = sigmoid(linear(x, h)); n = tanh(linear(x, r * h))
        h' = z * n + (1 - z) * h
    """,
    "MGU": "z = sigmoid(linear(x, h)); n = tanh(linear(x, z * h)); h' = (1 - z) * h + z * n",
    "coupled LSTM": """
        f = sigmoid(linear(x, h) + 1); o = sigmoid(linear(x, h)); g = tanh(linear(x, h))
        c' = f * c + (1 - f) * g; h' = o * tanh(c')
    """,
    "minGRU": "z = sigmoid(linear(x)); h' = (1 - z) * h + z * linear(x)",
    "typed": "z = sigmoid(linear(x, h)); h' = z * h + (1 - z) * linear(x)",
    "Elman": "h' = tanh(linear(x, h))",
}
KNOWN: dict[str, Formula] = {name: canonical(parse(text)) for name, text in _TEXTS.items()}
