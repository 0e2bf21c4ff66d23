"""Two decoders over the same bytes: they have to agree on where each instruction ends, and each instruction needs its .arch row."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from ..image.image import Image
from ..model.arch import Arch, Form
from ..prove.lift import Lifter


@dataclass(frozen=True)
class Decoded:
    """An instruction as both decoders see it. `second` is the length that the other decoder gives."""

    address: int
    size: int
    second: int
    text: str
    form: Form | None
    operands: dict[str, str | int]
    target: int | None                          # of a direct jump, branch or call


def second_name(arch: Arch) -> str:
    """The decoder that checks the first one."""
    return "iced" if "iced" in arch.tools else "sleigh"


def _second_length(arch: Arch, lifter: Lifter, address: int, data: bytes) -> int:
    tool = arch.tools.get("iced")
    if tool is None:
        instruction = lifter.at(address)
        return instruction.size if instruction.problem is None else 0
    import iced_x86
    decoder = iced_x86.Decoder(int(tool[0]), data, ip=address)
    found = decoder.decode()
    return 0 if found.code == iced_x86.Code.INVALID else found.len


def decode_at(arch: Arch, lifter: Lifter, address: int) -> Decoded:
    """One instruction."""
    instruction = lifter.at(address)
    data = lifter.image.bytes_at(address, 16)
    target = next((op.inputs[0].offset for op in instruction.ops if op.name in ("BRANCH", "CBRANCH", "CALL") and op.inputs[0].space == "ram"), None)
    return Decoded(address, instruction.size, _second_length(arch, lifter, address, data), instruction.text, instruction.form, instruction.operands, target)


def decode_all(arch: Arch, image: Image, lifter: Lifter, slots: Iterable[int] = ()) -> Iterator[Decoded | int]:
    """Every instruction of every segment; `slots` are places without a symbol where code starts; the address of a byte that is neither padding nor an instruction comes as a number."""
    starts = {*image.symbols.values(), *slots}
    for start, data in image.segments:
        at = start
        while at < start + len(data):
            if data[at - start] == arch.padding and at not in starts and _padding(arch, data, at - start, start, starts):
                at += 1
                continue
            decoded = decode_at(arch, lifter, at)
            if decoded.size == 0:
                yield at
                at += 1
                continue
            yield decoded
            at += decoded.size


def _padding(arch: Arch, data: bytes, offset: int, start: int, symbols: set[int]) -> bool:
    """Padding reaches up to the next symbol or the end."""
    while offset < len(data) and start + offset not in symbols:
        if data[offset] != arch.padding:
            return False
        offset += 1
    return True
