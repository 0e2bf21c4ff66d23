"""What a CPU is: the resolved content of an .arch file. No CPU is named in this code."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from ..source.text import SourceFile, Span
from .expr import Binary, Cast, Expr


@dataclass(frozen=True)
class Register:
    """A register family. `views` maps a width in bits to the printed name of that view."""

    name: str
    kind: str                                   # gpr, stack, pc, flags, segment, system
    views: dict[int, str]
    span: Span
    bits: dict[str, tuple[int, int]] = field(default_factory=dict)      # DF -> (10, 10): low and high bit
    places: dict[str, int] = field(default_factory=dict)                # df -> 10: bits usable as places
    lifter_bits: dict[str, int] = field(default_factory=dict)           # lifter's own one-bit registers -> bit
    lifted: str | None = None                   # the lifter's register name, where it differs
    facts: dict[str, int] = field(default_factory=dict)                 # indexed -> number of a model-specific register, compare -> mask

    @property
    def width(self) -> int:
        return max(self.views)

    @property
    def text(self) -> str:
        """The printed name of the widest view."""
        return self.views[self.width]

    @property
    def compare(self) -> int:
        """The bits that a slot of this register's value must agree in."""
        return self.facts.get("compare", (1 << 64) - 1)

    @property
    def lifter_name(self) -> str | None:
        """The lifter's name for the widest view, matched without regard to case; None: the lifter does not know it."""
        return self.lifted or (self.text if self.kind in ("gpr", "stack", "pc") else None)


@dataclass(frozen=True)
class Assign:
    """place = value, simultaneous with its siblings. place: Reg, Bit, Operand or Mem."""

    place: Expr
    value: Expr


@dataclass(frozen=True)
class Swap:
    """Two places exchange their values."""

    a: Expr
    b: Expr


@dataclass(frozen=True)
class Control:
    """kind: call, jump, indirect (to what a register holds), branch, return, stop. `target` is the operand that names the destination."""

    kind: str
    target: str | None = None


@dataclass(frozen=True)
class Reads:
    """The instruction reads `size` bytes at an address, and nothing comes of it. In the address, the program counter is the following instruction's."""

    size: int
    address: Expr


Effect = Assign | Swap | Control | Reads


@dataclass(frozen=True)
class Kind:
    """A kind of operand. For immediates: `signed` and `bits`, and the unit that the value is a multiple of."""

    name: str                                   # gpr, sp, system, label, function, imm
    bits: int = 0
    signed: bool = False
    unit: int = 1

    def holds(self, value: int) -> bool:
        """Can an immediate of this kind hold the value?"""
        if self.name != "imm" or value % self.unit:
            return False
        scaled = value // self.unit
        low, high = (-(1 << (self.bits - 1)), (1 << (self.bits - 1)) - 1) if self.signed else (0, (1 << self.bits) - 1)
        return low <= scaled <= high


@dataclass(frozen=True)
class Form:
    """One instruction form: what it prints as, what it does, and how it is recognised."""

    name: str
    params: dict[str, tuple[Kind, ...]]
    role: str           # save restore clear move adjust switch fence call jump decide return stop mark
    text: str                                   # "pushq %{s}"
    spellings: dict[str, str]                   # dialect -> text, where it differs ("keystone")
    decodes: tuple[str, ...]                    # mnemonics that a disassembler prints for it
    effects: tuple[Effect, ...]
    # overlay (this row is the semantics), event, clobbers_flags, described (generated code never uses it), encoded (its text is its bytes),
    # c_return (back to a caller: followed where the caller is known), asserts (stops code whose assertion does not hold)
    traits: frozenset[str]
    manual: str
    span: Span
    raises: tuple[int, ...] = ()                # vectors of the faults that it may end in, whatever memory is mapped


@dataclass(frozen=True)
class FormUse:
    """A form with its operands, inside a sequence row."""

    form: str
    arguments: tuple[Expr, ...]


@dataclass(frozen=True)
class Sequence:
    """Forms that together branch to operand `l` when the condition holds."""

    name: str
    params: dict[str, tuple[Kind, ...]]
    condition: Expr
    uses: tuple[FormUse, ...]
    span: Span


@dataclass(frozen=True)
class StackRow:
    """From `origin`, the event runs on hardware stack `stack` (or "sp": the interrupted one), aligned down."""

    stack: str
    origin: str
    align: int


@dataclass(frozen=True)
class Event:
    """What the hardware does when an event is taken. All right-hand sides name interrupted values."""

    name: str
    numbers: tuple[int, int] | None             # vector(0..255): one event for a range of numbers
    origin: str                                 # user, kernel, any
    found: tuple[str, int, int]                 # how: gate / msr / table; number or offset; size of the slot
    stacks: tuple[StackRow, ...]
    pushes: tuple[str, ...]                     # register names, in the order pushed (first = highest address)
    error_numbers: frozenset[int]               # numbers for which an error code is pushed last
    effects: tuple[Assign, ...]
    lost: frozenset[str]                        # interrupted values that exist nowhere afterwards
    words: int                                  # words that it pushes before the registers: C reads them
    augments: tuple[str, ...]                   # pushed registers whose words hold more above the register's own bits
    error_always: bool                          # an error code is pushed last, whatever the event
    anywhere: frozenset[int]                    # numbers that strike whatever the kernel does: nothing holds them off
    manual: str
    span: Span


    def pushes_error(self, number: int | None) -> bool:
        """Does it push an error code, with this number?"""
        return self.error_always or (number is not None and number in self.error_numbers)


@dataclass(frozen=True)
class Return:
    """What a return instruction makes of the machine. `pops`: lowest address first."""

    name: str                                   # also the name of the form that prints it
    origin: str                                 # user, kernel, any: where it can return to
    pops: tuple[str, ...]
    effects: tuple[Assign, ...]
    requires: tuple[tuple[Expr, str], ...]
    raises: tuple[int, ...]                     # vectors of the faults that it can end in, in the kernel
    stops: tuple[str, ...]                      # forms that must follow it, against straight-line speculation
    manual: str
    span: Span


@dataclass(frozen=True)
class Abi:
    """The C calling convention."""

    args: tuple[str, ...]
    result: str
    preserved: tuple[str, ...]
    align: int
    return_address: int                         # bytes that a call pushes; 0 when it uses a link register
    link: str | None
    must: dict[str, int]                        # flag places with the value that C expects and keeps


@dataclass(frozen=True)
class HardwareStruct:
    """A structure that the CPU reads: field -> (offset, size)."""

    name: str
    size: int
    fields: dict[str, tuple[int, int]]
    meaning: str


@dataclass(frozen=True)
class Setup:
    """A value that the kernel programs, and what the CPU demands of it."""

    name: str
    meaning: str
    requires: Expr | None
    reason: str
    span: Span


@dataclass(frozen=True)
class Relocation:
    """A relocation type: `value` over the operands S (symbol), A (addend) and P (place). `range`: signed, unsigned, or any."""

    name: str
    number: int
    size: int
    range: str
    value: Expr


@dataclass(frozen=True)
class Program:
    """What makes an event reach its entry point: rows (verb, number, value)."""

    event: str
    rows: tuple[tuple[str, int, Expr | None], ...]      # value None: the entry point's address; Reg("table"): that of the vector table
    manual: str


@dataclass(frozen=True)
class Arch:
    """One CPU."""

    name: str
    title: str
    word: int
    endian: str
    source: SourceFile
    tools: dict[str, tuple[str, ...]]
    registers: dict[str, Register]
    flag_names: dict[str, int]                  # DF -> its mask, for expressions
    places: dict[str, tuple[str, int]]          # df -> (flags, 10)
    abi: Abi
    structs: dict[str, HardwareStruct]
    setups: dict[str, Setup]
    hwstacks: dict[str, str]
    padding: int                                # the byte between stubs
    irqs: tuple[str, str]                       # forms that let interrupts in, and keep them out
    origin: Expr | None                         # the interrupted context was user mode when this holds
    events: dict[str, Event]
    returns: tuple[Return, ...]
    forms: dict[str, Form]
    sequences: tuple[Sequence, ...]
    programs: dict[str, Program]
    link: tuple[int, int, int] = (0, 0, 0)      # where objects are put: code, undefined symbols, and those that a base register reaches
    relocations: dict[int, Relocation] = field(default_factory=dict)
    patching: dict[str, tuple[bytes, ...]] = field(default_factory=dict)        # bytes that kernels patch code with: nops by length; jumps
    plain: dict[str, int | None] = field(default_factory=dict)  # mnemonics taken as the lifter has them, where no form fits -> flags that they define

    @property
    def endian_name(self) -> Literal["little", "big"]:
        """The byte order, as Python calls it."""
        return "big" if self.endian == "big" else "little"

    @property
    def word_bytes(self) -> int:
        return self.word // 8

    @property
    def gprs(self) -> list[str]:
        """General registers in the order declared."""
        return [r.name for r in self.registers.values() if r.kind == "gpr"]

    def of_kind(self, kind: str) -> str:
        """The name of the only register of a kind: stack, pc or flags."""
        return next(r.name for r in self.registers.values() if r.kind == kind)

    @property
    def result_bits(self) -> int:
        """The width in which assembly tests a C result for zero."""
        widths = [s.condition.a.bits for s in self.sequences if isinstance(s.condition, Binary) and isinstance(s.condition.a, Cast)]
        return min(widths, default=8)

    def return_row(self, name: str, origin: str) -> Return | None:
        """The return of that name that can go to that origin."""
        return next((r for r in self.returns if r.name == name and r.origin in (origin, "any")), None)
