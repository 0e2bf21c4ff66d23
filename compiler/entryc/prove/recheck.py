"""The solver's questions as SMT-LIB files, and a sample of its answers asked again of another solver."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Iterable, Mapping

from . import terms as T
from .terms import Term

Queries = Mapping[tuple[Term, ...], str]        # a conjunction of one-bit terms -> sat, unsat or unknown


class Missing(Exception):
    """The second solver is not installed."""


def smt2(conditions: Iterable[Term], answer: str) -> str:
    """One question, with the answer that Z3 gave."""
    import z3
    solver = z3.SolverFor("QF_BV")
    for condition in conditions:
        solver.add(T.to_solver(condition) == 1)
    return f"(set-info :status {answer})\n(set-logic QF_BV)\n" + str(solver.to_smt2()).replace("(set-info :status unknown)\n", "")


def files(queries: Queries) -> dict[str, str]:
    """A file for each question, named by its content."""
    out: dict[str, str] = {}
    for conditions, answer in queries.items():
        text = smt2(conditions, answer)
        out[f"{hashlib.sha256(text.encode()).hexdigest()[:16]}.smt2"] = text
    return out


def recheck(queries: Queries, count: int, seed: int) -> tuple[int, list[str]]:
    """How many of a seeded sample were asked of Bitwuzla, and the questions on which it disagrees. Raises Missing."""
    try:
        import bitwuzla
    except ImportError:
        raise Missing("bitwuzla is not installed: pip install 'entryc[second]'") from None
    known = [(c, a) for c, a in queries.items() if a in ("sat", "unsat")]
    chosen = random.Random(seed).sample(known, min(count, len(known)))
    wrong: list[str] = []
    for conditions, answer in chosen:
        text = smt2(conditions, answer)
        options = bitwuzla.Options()
        parser = bitwuzla.Parser(bitwuzla.TermManager(), options)
        parser.parse(text, True, False)
        other = str(parser.bitwuzla().check_sat()).rsplit(".", 1)[-1].lower()
        if other != answer:
            wrong.append(f"Z3 says {answer}, Bitwuzla says {other}, of {hashlib.sha256(text.encode()).hexdigest()[:16]}.smt2")
    return len(chosen), wrong
