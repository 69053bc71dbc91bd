"""Measures of the syntax of C and LaTeX, with answers counted by hand."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgernn.syntax import Share, c_brackets, c_lines, latex_brackets, latex_environments, latex_formulas

MEASURES = [c_brackets, c_lines, latex_brackets, latex_environments, latex_formulas]


@pytest.mark.parametrize(
    ("text", "right", "total"),
    [
        ("", 0, 0),
        ("no bracket", 0, 0),
        ("()", 2, 2),
        ("f(a[i]) { g(); }", 8, 8),
        ("((((", 0, 4),
        ("))))", 0, 4),
        ("}{", 0, 2),
        ("(]", 0, 2),
        ("([)]", 2, 4),  # ( takes ), so [ stays open, and ] closes nothing
        ("{ ( }", 2, 3),  # one bracket that stays open does not spoil those around it
        ("{ f(a; g(b); }", 4, 5),  # the second ) is missing
        ("{ f a); }", 2, 3),
        ("[" * 3 + "]" * 5, 6, 8),
    ],
)
def test_brackets_close_the_last_open_one_of_their_kind(text, right, total):
    assert c_brackets(text) == latex_brackets(text) == Share(right, total)


def test_brackets_of_c_do_not_count_in_comments_and_literals():
    assert c_brackets("a[0] = ')'; /* ( */ b(\"}\"); // {") == Share(4, 4)
    assert c_brackets("/* ( * */ )") == Share(0, 1)
    assert c_brackets('"\\"(" (') == Share(0, 1)


def test_brackets_of_latex_do_not_count_in_comments_and_escaped():
    assert latex_brackets("\\{x\\} \\[ y \\] % (\n{z}") == Share(2, 2)
    assert latex_brackets("100\\% (a)") == Share(2, 2)
    assert latex_brackets("a \\\\ [b]") == Share(2, 2)  # the second backslash of \\ escapes nothing


@pytest.mark.parametrize(
    ("text", "right", "total"),
    [
        ("", 0, 0),
        ("\\section{begin}", 0, 0),
        ("\\begin{proof} \\end{proof}", 2, 2),
        ("\\begin{proof}", 0, 1),
        ("\\end{proof}", 0, 1),
        ("\\begin{proof} \\end{lemma}", 0, 2),
        ("\\begin{lemma} \\begin{enumerate} \\end{enumerate} \\end{lemma}", 4, 4),
        ("\\begin{lemma} \\begin{enumerate} \\end{lemma}", 2, 3),
        ("\\begin{lemma} \\begin{proof} \\end{lemma} \\end{proof}", 2, 4),
        ("% \\begin{proof}\n\\begin{lemma}\\end{lemma}", 2, 2),
        ("\\begin {lemma}\\end{lemma}", 2, 2),
        ("\\beginning{lemma} \\begin{lem", 0, 0),
        ("a \\\\\\begin{lemma}", 0, 1),
    ],
)
def test_environments_end_as_they_begin(text, right, total):
    assert latex_environments(text) == Share(right, total)


@pytest.mark.parametrize(
    ("text", "right", "total"),
    [
        ("", 0, 0),
        ("costs 3\\$", 0, 0),
        ("$x$ and $y$", 4, 4),
        ("$$x$$", 2, 2),
        ("$x$$y$", 4, 4),  # two formulas, and none that is displayed
        ("$x$ and $y", 2, 3),
        ("$x\n\ny$", 0, 2),  # a paragraph ends, and with it the formula
        ("$x\n%\ny$", 2, 2),  # a comment is no empty line
        ("$$x \\\\\n\\\\\ny$$", 2, 2),
        ("$x % $\n$", 2, 2),
        ("$$x$y$$", 2, 3),  # a single dollar has no place in a displayed formula
        ("$", 0, 1),
    ],
)
def test_formulas_end_in_their_paragraph(text, right, total):
    assert latex_formulas(text) == Share(right, total)


@pytest.mark.parametrize(
    "line",
    [
        "#include <linux/atomic.h>",
        "static const char *const names[] = {",
        "\tx <<= 0x1fUL, y = 017, z = 0, w = 10llu, v = 0b101;",
        "f = 1.5e-3f + .5 + 1. + 1e9 + 0x1.8p3;",
        "c = '\\n' + '\\'' + L'a' + u8\"text\" + 'ab';",
        'puts("it\'s \\"quoted\\"");',
        "/* it's prose: @ ` $ */ return; // don't",
        "a ? b : c; p->q.r = ~s ^ t | u & v % w, va(...);",
        "naïve = 1;",
    ],
)
def test_a_line_of_c_is_accepted(line):
    assert c_lines(line) == Share(1, 1)


@pytest.mark.parametrize(
    "line",
    [
        "x = @;",
        "`",
        "int a$b;",
        "a \\ b",
        "don't do this",
        'char *s = "unended;',
        "int c = '';",
        "x = 12abc;",
        "x = 08;",
        "x = 0x;",
        "x = 0x1g;",
        "x = 1.2.3;",
        "x = 1e;",
        "x = 1ulu;",
        "\0",
        "int\0x;",
        "/* without end",
    ],
)
def test_a_line_that_is_not_c_is_refused(line):
    assert c_lines(line) == Share(0, 1)
    assert c_lines(f"int a;\n\n{line}") == Share(1, 2)


def test_a_line_is_refused_on_its_own():
    assert c_lines('int a;\nchar *s = "unended;\nint b;\n\n  \nx = @ + @;\n') == Share(2, 4)
    assert c_lines("don't /* ( \nint a;") == Share(1, 2)  # a literal ends with its line, and holds no comment


def test_a_comment_spans_lines():
    assert c_lines("/* it's\n * prose @\n */ int a;\nint b;") == Share(4, 4)
    assert c_lines("int a; /* it's\n * prose @ */ `\nint b;") == Share(2, 3)
    assert c_lines("int a;\n/* it's\nwithout\n\nend") == Share(1, 4)


def test_a_backslash_joins_lines():
    assert c_lines('#define A \\\n  "x \\\n y"\nint a;') == Share(4, 4)


def test_lines_of_white_space_do_not_count():
    assert c_lines("\n\n \t\n") == Share(0, 0)


@pytest.mark.parametrize("measure", MEASURES)
def test_hostile_texts_are_measured(measure):
    for text in ("", "\0" * 9, "([{" * 50_000, ")" * 50_000, "\\begin{a}" * 20_000, "$" * 50_001, '"\\\n' * 20_000):
        share = measure(text)
        assert 0 <= share.right <= share.total


@pytest.mark.parametrize("measure", MEASURES)
@given(text=st.text(alphabet="()[]{}$%\\\n\"'/* a0x.\0", max_size=60))
def test_a_share_is_at_most_the_whole(measure, text):
    share = measure(text)
    assert 0 <= share.right <= share.total <= len(text)


def test_shares_add_up_and_are_shown_in_per_cent():
    total = Share(1, 2) + Share(3, 6)
    assert total == Share(4, 8)
    assert str(total) == "50.0 %"
    assert str(Share(0, 0)) == "none"


@pytest.mark.real_data
def test_real_texts_are_right_almost_everywhere(real_data):
    c, latex = ((real_data / name / "val.txt").read_text(encoding="utf-8") for name in ("linux", "stacks"))
    assert c_lines(c) == Share(19_667, 19_667)
    assert c_brackets(c) == Share(19_516, 19_517)
    assert latex_brackets(latex) == Share(33_164, 33_170)  # brackets that the book forgot
    assert latex_environments(latex) == Share(1_380, 1_380)
    assert latex_formulas(latex) == Share(18_414, 18_414)
