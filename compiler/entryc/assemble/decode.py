"""Two decoders over the same bytes: they have to agree on where each instruction ends and where it goes; each needs its .arch row."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from ..image.image import Image
from ..image.lift import LONGEST, Lifter
from ..model.arch import Arch, Control, Form

# What ends straight-line code, in the words of the .arch files, for each decoder.
ICED_FLOW = {"UNCONDITIONAL_BRANCH": "jump", "INDIRECT_BRANCH": "indirect", "CONDITIONAL_BRANCH": "branch", "RETURN": "return", "CALL": "call",
             "INDIRECT_CALL": "call", "INTERRUPT": "stop", "XBEGIN_XABORT_XEND": "branch", "EXCEPTION": "stop"}
LIFTED_FLOW = {"BRANCH": "jump", "BRANCHIND": "indirect", "CBRANCH": "branch", "CALL": "call", "CALLIND": "call", "RETURN": "return"}


@dataclass(frozen=True)
class Decoded:
    """An instruction as both decoders see it. `flow`: "" (goes on), jump, branch, call, return or stop, as its .arch row has it;

    `problem` says where the second decoder differs: length, flow or target."""

    address: int
    size: int
    text: str
    form: Form | None
    operands: dict[str, str | int]
    flow: str
    target: int | None                          # of a direct jump, branch or call
    problem: str | None


def second_name(arch: Arch) -> str:
    """The decoder that checks the first one."""
    return "iced" if "iced" in arch.tools else "sleigh"


def _second(arch: Arch, lifter: Lifter, address: int, data: bytes) -> tuple[int, str, int | None]:
    """Length (0: none), flow and target, by the decoder that is not the first."""
    tool = arch.tools.get("iced")
    if tool is None:
        instruction = lifter.at(address)
        size = instruction.size if instruction.problem is None else 0
        ops = [op for op in instruction.ops if op.name in LIFTED_FLOW]
        if not ops:
            return size, "", None
        place = ops[0].inputs[0]
        return size, LIFTED_FLOW[ops[0].name], place.offset if place.space == "ram" and not ops[0].name.endswith("IND") else None
    import iced_x86
    found = iced_x86.Decoder(int(tool[0]), data, ip=address).decode()
    if found.code == iced_x86.Code.INVALID:
        return 0, "", None
    names = {value: name for name, value in vars(iced_x86.FlowControl).items() if isinstance(value, int)}
    target = found.near_branch_target
    return found.len, ICED_FLOW.get(names.get(found.flow_control, ""), ""), target or None


def _iced_name(arch: Arch, data: bytes) -> str:
    """The mnemonic that the second decoder gives."""
    import iced_x86
    found = iced_x86.Decoder(int(arch.tools["iced"][0]), data).decode()
    return next((name.lower() for name, value in vars(iced_x86.Mnemonic).items() if value == found.mnemonic and isinstance(value, int)), "?")


def decode_at(arch: Arch, lifter: Lifter, address: int) -> Decoded:
    """One instruction."""
    instruction = lifter.at(address)
    form, operands = instruction.form, instruction.operands
    if form is not None and "described" in form.traits:
        form, operands = None, {}               # only hand-written code uses it
    control = next((e for e in form.effects if isinstance(e, Control)), None) if form is not None else None
    flow = control.kind if control is not None else ""
    bound = operands.get(control.target) if control is not None and control.target is not None else None
    target = bound if isinstance(bound, int) else None
    problem = None
    if form is not None and "encoded" in form.traits and second_name(arch) == "iced" and _iced_name(arch, instruction.data) not in form.decodes:
        problem = f"'{form.decodes[0]}' and '{_iced_name(arch, instruction.data)}'"
    elif form is not None and instruction.size:
        size, other, place = _second(arch, lifter, address, lifter.image.bytes_at(address, LONGEST))
        if size != instruction.size:
            problem = f"{instruction.size} and {size} bytes"
        elif other != flow and not ("overlay" in form.traits and not other):
            problem = f"'{flow or 'goes on'}' and '{other or 'goes on'}'"
        elif place is not None and place != target:
            problem = f"targets {target or 0:#x} and {place:#x}"
    return Decoded(address, instruction.size, instruction.text, form, operands, flow, target, problem)


def decode_all(arch: Arch, image: Image, lifter: Lifter, slots: Iterable[int] = ()) -> Iterator[Decoded | int]:
    """Every instruction of every segment; `slots` are places without a symbol where code starts.

    The address of a byte that is neither padding nor an instruction comes as a number."""
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
