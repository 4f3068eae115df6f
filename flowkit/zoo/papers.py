"""The paper that each named architecture comes from, to be cited."""

import re
import unicodedata
from dataclasses import dataclass


@dataclass(frozen=True)
class Paper:
    """A paper: its authors, "Last, First" with "and" between them, title, year, number on arXiv, and where it appeared.

    >>> print(Paper("Doe, Jane and Roe, Richard", "A Flow", 2020, "2001.00001", "NeurIPS").bibtex())
    @inproceedings{doe2020flow,
      author = {Doe, Jane and Roe, Richard},
      title = {{A Flow}},
      booktitle = {NeurIPS},
      year = {2020},
      eprint = {2001.00001},
      archivePrefix = {arXiv}
    }
    """

    authors: str
    title: str
    year: int
    arxiv: str
    booktitle: str

    def __str__(self):
        last = [_plain(author.split(",")[0]) for author in self.authors.split(" and ")]
        told = last[0] if len(last) == 1 else f"{', '.join(last[:-1])} & {last[-1]}"
        return f"{told}, {self.title} ({self.year}), https://arxiv.org/abs/{self.arxiv}"

    def bibtex(self) -> str:
        """The paper as an entry for BibTeX."""
        fields = {
            "author": self.authors,
            "title": f"{{{self.title}}}",  # as it is written, whatever the style does to titles
            "booktitle": self.booktitle,
            "year": str(self.year),
            "eprint": self.arxiv,
            "archivePrefix": "arXiv",
        }
        lines = ",\n".join(f"  {name} = {{{value}}}" for name, value in fields.items())
        return f"@inproceedings{{{self._key()},\n{lines}\n}}"

    def _key(self):
        words = [word for word in self.title.lower().split() if word not in ("a", "the", "on")]
        parts = (self.authors.split(",")[0], str(self.year), words[0])
        return "".join(
            letter for part in parts for letter in part.lower() if letter.isascii() and letter.isalnum()
        )


def _plain(name):
    r"""A name as people write it, of one in BibTeX's letters: {\`e} is an e and the sign above it.

    >>> _plain(r"Racani{\`e}re")
    'Racanière'
    """
    signs = {
        "`": "\N{COMBINING GRAVE ACCENT}",
        "'": "\N{COMBINING ACUTE ACCENT}",
        '"': "\N{COMBINING DIAERESIS}",
    }
    written = re.sub(r"\{\\([`'\"])(\w)\}", lambda found: found[2] + signs[found[1]], name)
    return unicodedata.normalize("NFC", written)


_NEURIPS = "Advances in Neural Information Processing Systems"
_ICML = "International Conference on Machine Learning"
_ICLR = "International Conference on Learning Representations"
_UAI = "Conference on Uncertainty in Artificial Intelligence"

_SPLINES = Paper(
    "Durkan, Conor and Bekasov, Artur and Murray, Iain and Papamakarios, George",
    "Neural Spline Flows",
    2019,
    "1906.04032",
    _NEURIPS,
)
_PLANAR = Paper(
    "Rezende, Danilo Jimenez and Mohamed, Shakir",
    "Variational Inference with Normalizing Flows",
    2015,
    "1505.05770",
    _ICML,
)

PAPERS = {
    "glow": Paper(
        "Kingma, Diederik P. and Dhariwal, Prafulla",
        "Glow: Generative Flow with Invertible 1x1 Convolutions",
        2018,
        "1807.03039",
        _NEURIPS,
    ),
    "nsf": _SPLINES,
    "nsf_autoregressive": _SPLINES,
    "realnvp": Paper(
        "Dinh, Laurent and Sohl-Dickstein, Jascha and Bengio, Samy",
        "Density estimation using Real NVP",
        2017,
        "1605.08803",
        _ICLR,
    ),
    "nice": Paper(
        "Dinh, Laurent and Krueger, David and Bengio, Yoshua",
        "NICE: Non-linear Independent Components Estimation",
        2015,
        "1410.8516",
        f"{_ICLR}, Workshop Track",
    ),
    "maf": Paper(
        "Papamakarios, George and Pavlakou, Theo and Murray, Iain",
        "Masked Autoregressive Flow for Density Estimation",
        2017,
        "1705.07057",
        _NEURIPS,
    ),
    "iaf": Paper(
        "Kingma, Diederik P. and Salimans, Tim and Jozefowicz, Rafal and Chen, Xi and Sutskever, Ilya and Welling, Max",
        "Improved Variational Inference with Inverse Autoregressive Flow",
        2016,
        "1606.04934",
        _NEURIPS,
    ),
    "naf": Paper(
        "Huang, Chin-Wei and Krueger, David and Lacoste, Alexandre and Courville, Aaron",
        "Neural Autoregressive Flows",
        2018,
        "1804.00779",
        _ICML,
    ),
    "bnaf": Paper(
        "De Cao, Nicola and Titov, Ivan and Aziz, Wilker",
        "Block Neural Autoregressive Flow",
        2019,
        "1904.04676",
        _UAI,
    ),
    "umnn": Paper(
        "Wehenkel, Antoine and Louppe, Gilles",
        "Unconstrained Monotonic Neural Networks",
        2019,
        "1908.05164",
        _NEURIPS,
    ),
    "bernstein": Paper(
        "Ramasinghe, Sameera and Fernando, Kasun and Khan, Salman and Barnes, Nick",
        "Robust Normalizing Flows Using Bernstein-type Polynomials",
        2022,
        "2102.03509",
        "British Machine Vision Conference",
    ),
    "sos": Paper(
        "Jaini, Priyank and Selby, Kira A. and Yu, Yaoliang",
        "Sum-of-Squares Polynomial Flow",
        2019,
        "1905.02325",
        _ICML,
    ),
    "gaussianization": Paper(
        "Meng, Chenlin and Song, Yang and Song, Jiaming and Ermon, Stefano",
        "Gaussianization Flows",
        2020,
        "2003.01941",
        "International Conference on Artificial Intelligence and Statistics",
    ),
    "residual": Paper(
        'Chen, Ricky T. Q. and Behrmann, Jens and Duvenaud, David and Jacobsen, J{\\"o}rn-Henrik',
        "Residual Flows for Invertible Generative Modeling",
        2019,
        "1906.02735",
        _NEURIPS,
    ),
    "planar": _PLANAR,
    "radial": _PLANAR,
    "sylvester": Paper(
        "van den Berg, Rianne and Hasenclever, Leonard and Tomczak, Jakub M. and Welling, Max",
        "Sylvester Normalizing Flows for Variational Inference",
        2018,
        "1803.05649",
        _UAI,
    ),
    "circular_nsf": Paper(
        "Rezende, Danilo Jimenez and Papamakarios, George and Racani{\\`e}re, S{\\'e}bastien and "
        "Albergo, Michael S. and Kanwar, Gurtej and Shanahan, Phiala E. and Cranmer, Kyle",
        "Normalizing Flows on Tori and Spheres",
        2020,
        "2002.02428",
        _ICML,
    ),
}
