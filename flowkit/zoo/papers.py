"""The paper that each named architecture comes from, to be cited."""

import tomllib
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Paper:
    """A paper: its key in BibTeX, its authors, "Last, First" with "and" between them, title, year, arXiv number, venue.

    >>> print(Paper("doe2020flow", "Doe, Jane and Roe, Richard", "A Flow", 2020, "2001.00001", "NeurIPS").bibtex())
    @inproceedings{doe2020flow,
      author = {Doe, Jane and Roe, Richard},
      title = {{A Flow}},
      booktitle = {NeurIPS},
      year = {2020},
      eprint = {2001.00001},
      archivePrefix = {arXiv}
    }
    """

    key: str
    authors: str
    title: str
    year: int
    arxiv: str
    booktitle: str

    def __str__(self):
        last = [author.split(",")[0] for author in self.authors.split(" and ")]
        told = last[0] if len(last) == 1 else f"{', '.join(last[:-1])} & {last[-1]}"
        return f"{told}, {self.title} ({self.year}), https://arxiv.org/abs/{self.arxiv}"

    def bibtex(self) -> str:
        """Return the paper as an entry for BibTeX."""
        fields = {
            "author": self.authors,
            "title": f"{{{self.title}}}",  # as it is written, whatever the style does to titles
            "booktitle": self.booktitle,
            "year": str(self.year),
            "eprint": self.arxiv,
            "archivePrefix": "arXiv",
        }
        lines = ",\n".join(f"  {name} = {{{value}}}" for name, value in fields.items())
        return f"@inproceedings{{{self.key},\n{lines}\n}}"


_ENTRIES = tomllib.loads(Path(__file__).with_suffix(".toml").read_text("utf-8"))
PAPERS = {
    name: Paper(**(_ENTRIES[entry] if isinstance(entry, str) else entry)) for name, entry in _ENTRIES.items()
}
