"""What `flowkit info NAME` prints reads well: names of people, numbers, rows that say the same."""

import pytest

from flowkit import presets, zoo
from flowkit.app import main
from flowkit.zoo.papers import PAPERS


@pytest.mark.parametrize("family", zoo.ARCHITECTURES)
def test_each_family_has_a_paper_in_words_and_in_bibtex(family):
    words, entry = str(PAPERS[family]), PAPERS[family].bibtex()
    assert not set("{}\\") & set(words)
    assert f"https://arxiv.org/abs/{PAPERS[family].arxiv}" in words
    assert entry.count("{") == entry.count("}")


def test_what_is_said_of_a_paper_says_how_to_cite_it(capsys):
    assert main(["info", "glow/digits"]) == 0
    paper, how = capsys.readouterr().out.splitlines()[:2]
    assert paper.endswith(PAPERS["glow"].arxiv)
    command, _, rest = how.partition(" gives it as ")
    assert rest == "BibTeX"
    assert main(command.split()[1:]) == 0
    assert capsys.readouterr().out.strip() == PAPERS["glow"].bibtex().strip()


def test_a_preset_is_told_in_digits_that_one_reads(capsys):
    assert main(["info", "glow/digits"]) == 0
    told = dict(line.split(maxsplit=1) for line in capsys.readouterr().out.splitlines() if "  " in line[:30])
    measured = presets.read_preset(presets.find_preset("glow/digits")).measured
    assert told["parameters"] == "17,988"
    score, error = measured["test_bits_per_dim"], measured["test_standard_error"]
    assert told["test_bits_per_dim"] == f"{score:.4f} +- {error:.4f}"
    assert "test_standard_error" not in told
    assert told["train_images"] == "1,293"


def test_steps_that_say_the_same_are_one_row_unless_all_are_asked_for(capsys):
    flow = zoo.planar(features=3, layers=5)
    flow.summary()
    told = capsys.readouterr().out
    assert "5 x Planar()" in told
    assert "level" not in told  # of which it has none
    flow.summary(expand_nested=True)
    assert capsys.readouterr().out.count("Planar()") == 5
