"""Machine code to prove: bytes at addresses, and what the symbols are."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Image:
    """Linked code. `segments`: (address, bytes), not overlapping; `symbols`: name -> address; `sha256` of what was read."""

    segments: tuple[tuple[int, bytes], ...]
    symbols: Mapping[str, int]
    sha256: str
    fixups: tuple[tuple[int, int], ...] = ()    # exception table: (instruction that may fault, where it goes on)
    externs: frozenset[str] = frozenset()       # undefined symbols that got addresses here
    notes: tuple[str, ...] = ()                 # what patches the code while the kernel runs: applied, or not modelled
    sites: tuple[tuple[int, int, str], ...] = ()                # (address, length, why) of code that was patched

    @classmethod
    def of(cls, segments: Sequence[tuple[int, bytes]], symbols: Mapping[str, int]) -> Image:
        """An image of bytes made here; its hash is over addresses and bytes."""
        digest = hashlib.sha256()
        for address, data in segments:
            digest.update(address.to_bytes(8, "little") + data)
        return cls(tuple(segments), dict(symbols), digest.hexdigest())

    def bytes_at(self, address: int, count: int) -> bytes:
        """Up to `count` bytes from an address; empty when nothing is there."""
        for start, data in self.segments:
            if start <= address < start + len(data):
                return data[address - start:address - start + count]
        return b""
