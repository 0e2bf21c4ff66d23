"""What a spec means: names resolved, ranges expanded. The makers and the checker both read this, and only this."""

from __future__ import annotations

from dataclasses import dataclass, field

from ..source.text import SourceFile, Span
from .arch import Arch, Event, Return
from .expr import Expr
from .inline import Inline
from .steps import Call, ReturnStep, Step, flat_steps
from .surroundings import Assume, Boundary, Guard, Meaning, Op, Region, StateNeed, SymbolAt

LATER = {"later": True}                         # a field that models had not always: part of the digest where it says something

VECTOR_TABLE = "entry_vectors"                  # the symbol of a vector table in memory


@dataclass(frozen=True)
class Feature:
    """A variation of the target: resolved by the build, or by patching the code at boot."""

    name: str
    kind: str                                   # build, patch
    meaning: str
    span: Span
    number: int | None = None                   # patch: the CPU feature's number, word * 32 + bit


@dataclass(frozen=True)
class Configuration:
    """A named set of features that the spec supports and that is proved."""

    name: str
    features: frozenset[str]
    span: Span

    def holds(self, guard: Guard) -> bool:
        return all((name in self.features) == wanted for name, wanted in guard)


@dataclass(frozen=True)
class Cell:
    """A word, or an array of bytes, of a memory block. With `symbol`, `offset` counts from that symbol of the image."""

    name: str                                   # "user_sp", "tss.sp0"
    offset: int
    size: int
    span: Span
    symbol: str | None = None
    region: str | None = None
    array: bool = False                         # reached at offsets that are computed
    index: Expr | None = None                   # the computed part of the address
    holds: Expr | None = None                   # what the kernel keeps there
    guard: Guard = frozenset()


@dataclass(frozen=True)
class Counters:
    """A row of C counters: one per method or one per refusing clause of a choice."""

    name: str
    offset: int
    choice: str
    of: str                                     # methods, clauses
    span: Span


@dataclass(frozen=True)
class Member:
    """A member of the C struct, in order: a hardware structure, a word, or counters."""

    name: str
    kind: str                                   # "word", "counters", or the name of a hardware structure
    offset: int
    size: int


@dataclass
class Memory:
    """A block reached through a base register: per-CPU data. Without a base, its words have fixed addresses."""

    name: str
    base: str                                   # the base register, or ""
    needs: tuple[StateNeed, ...]                # what must hold at every access
    members: list[Member]
    cells: dict[str, Cell]
    counters: dict[str, Counters]
    size: int
    span: Span


@dataclass(frozen=True)
class Transition:
    """A state goes from one value to another by an instruction form, or by an op that is written out. before: also "any"; after: also "kept"."""

    before: str
    after: str
    form: str                                   # "" with an op
    span: Span
    operand: Expr | None = None                 # the word that the instruction has to read
    inline: str | None = None                   # the op


@dataclass
class State:
    """Machine state with named values. A value with meanings is derived from places; one without is a ghost that only transitions set."""

    name: str
    values: dict[str, tuple[Meaning, ...]]
    transitions: list[Transition]
    guard: Guard
    span: Span

    @property
    def ghost(self) -> bool:
        return not any(self.values.values())


@dataclass(frozen=True)
class Stack:
    """A kernel stack. `top` is the cell that holds its top; `entered` the hardware stack that leads to it."""

    name: str
    top: Expr | None
    entered: str | None
    size: int
    span: Span
    also: tuple[str, ...] = ()                  # further hardware stacks that lead to it
    region: str | None = None
    bottom: Expr | None = None                  # the cell that holds its lowest address
    alias: tuple[Expr, int, str] | None = None  # a second view: the cell with its lowest address, bits that may be set in it, its region
    preset: bool = False                        # the kernel wrote the address of its memory block above its top
    guard: Guard = frozenset()                  # of `entered`: a hardware stack leads to it only then


@dataclass(frozen=True)
class Slot:
    """A word of a frame. `home`: the interrupted register that it keeps. `source`: number, error_code, c, or none."""

    name: str
    offset: int
    home: str | None
    source: str                                 # "home", "number", "error_code", "c", "value"
    other: Expr | None                          # value used when the source does not exist for an event
    hardware: bool                              # pushed by the CPU where the event pushes it
    span: Span


@dataclass
class Frame:
    """Saved registers in memory, lowest address first."""

    name: str
    c_name: str                                 # "struct regs"
    slots: dict[str, Slot]
    size: int
    span: Span

    @property
    def hardware(self) -> list[Slot]:
        return [s for s in self.slots.values() if s.hardware]


@dataclass
class Path:
    """A named list of steps. kind: entry, path, exit, routine."""

    name: str
    kind: str
    steps: tuple[Step, ...]
    guard: Guard
    span: Span
    event: Event | None = None                  # entry: the event
    numbers: tuple[int, ...] = ()               # entry: vector numbers that reach it; one path per number after expansion
    origin: str | None = None                   # entry: user, kernel or any; exit: where it returns to
    frame: str | None = None                    # exit and routine: the frame that it works on; path: the one at the stack pointer
    user_may_raise: bool = False                # gate privilege
    loses: tuple[str, ...] = ()                 # exit: registers that the caller does not get back
    given: Expr | None = None                   # exit: what C promises of the frame
    reason: str = ""                            # exit: why that is so
    stack: str | None = None                    # entry: the stack that the vector's gate names
    paranoid: bool = False                      # entry: it may interrupt the kernel anywhere
    placed: tuple[str, int] | None = None       # entry: symbol and displacement, when it has no symbol of its own
    arguments: tuple[str, ...] = ()             # routine: what C passes, when that is no frame
    changes: tuple[str, ...] = ()               # routine: registers of user mode that are others afterwards
    resumed: str | None = None                  # routine: the frame whose return leads here, in place of a C function
    called: bool = False                        # path: it stands once, is called, and gives back where the frame is

    @property
    def number(self) -> int | None:
        return self.numbers[0] if self.numbers else None


@dataclass(frozen=True)
class Clause:
    """A condition on the frame for a method; `name` counts its refusals."""

    condition: Expr
    name: str
    reason: str
    span: Span


@dataclass(frozen=True)
class Method:
    """A way to return: an exit path and the clauses that allow it."""

    name: str
    exit: str
    clauses: tuple[Clause, ...]
    span: Span


@dataclass(frozen=True)
class Choice:
    """choose NAME among A, B: tried in order; the last is the fallback and has no clause. C gives an index, or the address of the exit path.

    `by_refusal`: C that exists gives 0 for the first of two, and anything else for the fallback.
    """

    name: str
    methods: tuple[str, ...]
    span: Span
    by_address: bool = False
    bits: int | None = field(default=None, metadata=LATER)      # of the index that C gives; None: as the CPU's C has it
    by_refusal: bool = field(default=False, metadata=LATER)

    def index(self, method: str) -> int:
        """The number that C returns for a method: 0 is the fallback."""
        return len(self.methods) - 1 - self.methods.index(method)


@dataclass(frozen=True)
class Hook:
    """A C function that the kernel supplies. Types: u8..u64, s64, bool, void, or the name of a frame or memory (a pointer).

    `symbols`: of a kernel that exists, the functions that stand for it, in the order called; empty: its own name.
    """

    name: str
    result: str
    params: tuple[tuple[str, str], ...]         # (type, name)
    meaning: str
    span: Span
    symbols: tuple[str, ...] = ()


@dataclass(frozen=True)
class CallText:
    """A hook call as written in work rows, brackets and handlers."""

    name: str
    arguments: tuple[Expr, ...]
    span: Span


@dataclass(frozen=True)
class Bracket:
    """Bookkeeping around a stay in the kernel; `leave` runs in the order written, before the return."""

    name: str
    enter: tuple[CallText, ...]
    leave: tuple[CallText, ...]
    span: Span


@dataclass(frozen=True)
class WorkRow:
    """flag -> call; the flag is cleared before the call when `clears_first`.

    Of a kernel that exists: `alone`, nothing else is done in a pass that does it; `irqs_on`, where that is not as in the rest of the pass.
    """

    flags: tuple[str, ...]
    call: CallText
    clears_first: bool
    span: Span
    alone: bool = False
    irqs_on: bool | None = None


@dataclass(frozen=True)
class Work:
    """Exit work. `repeat`: until a snapshot read with interrupts off shows none; `once`: a single pass, interrupts stay off."""

    name: str
    flags: str                                  # the flag set
    read: CallText
    clear: str | None                           # hook that clears flags
    condition: Expr | None
    repeat: bool
    irqs_on: bool
    rows: tuple[WorkRow, ...]
    span: Span


@dataclass(frozen=True)
class Syscall:
    """A row of a system call table."""

    number: int
    name: str
    count: int
    span: Span


@dataclass(frozen=True)
class SyscallTable:
    """Dispatch by number: range check, speculation-safe index, arguments from slots, result into a slot."""

    name: str
    number: Expr
    args: tuple[Expr, ...]
    result: Expr
    missing: int
    rows: tuple[Syscall, ...]
    span: Span

    @property
    def size(self) -> int:
        return max(r.number for r in self.rows) + 1


# ---- steps of C handlers ----

@dataclass(frozen=True)
class CStep:
    """Base of handler statements. `verb` with its subject, see the fields used by each verb:

    enter/leave BRACKET; irqs on|off; syscalls TABLE; work NAME; choose CHOICE; do CALL; let NAME = REGISTER;
    set SLOT = EXPR; origin (user, kernel bodies); dispatch VALUE { ranges -> body; else -> body }; require CONDITION else CALL.
    """

    verb: str
    span: Span
    subject: str = ""
    call: CallText | None = None
    place: Expr | None = None
    value: Expr | None = None
    user: tuple[CStep, ...] = ()
    kernel: tuple[CStep, ...] = ()
    arms: tuple[tuple[tuple[tuple[int, int], ...], tuple[CStep, ...]], ...] = ()     # (ranges, body); no ranges: else
    names: tuple[tuple[int, str], ...] = ()     # dispatch: the constants that the author wrote as ends of ranges


@dataclass(frozen=True)
class Handler:
    """A C entry function that the compiler writes. `choice`: it returns the index of a return method."""

    name: str
    frame: str
    choice: str | None
    steps: tuple[CStep, ...]
    span: Span


@dataclass(frozen=True)
class Decision:
    """The declared ceiling for a kind of decision in assembly."""

    kind: str                                   # origin, method, fixup (a special boundary), or the name that an op gives it
    most: int
    reason: str
    span: Span


@dataclass(frozen=True)
class Window:
    """Where a state has a value, as label ranges."""

    name: str
    subject: str
    value: str
    span: Span


@dataclass
class Spec:
    """A whole spec, checked."""

    name: str
    source: SourceFile
    arch: Arch
    target: str
    license: str
    used: tuple[str, ...] = ()                  # files named by `use`, as messages name them
    features: dict[str, Feature] = field(default_factory=dict)
    configurations: dict[str, Configuration] = field(default_factory=dict)
    constants: dict[str, int] = field(default_factory=dict)
    setup: dict[str, tuple[int, Span]] = field(default_factory=dict)
    memories: dict[str, Memory] = field(default_factory=dict)
    states: dict[str, State] = field(default_factory=dict)
    after_decision: tuple[tuple[str, str], ...] = ()
    decided_by: tuple[str, ...] = ()            # only decisions on the interrupted values of these registers count; empty: all
    arrive: dict[str, tuple[StateNeed, ...]] = field(default_factory=dict)      # origin -> facts
    leave: dict[str, tuple[StateNeed, ...]] = field(default_factory=dict)
    contracts: dict[str, tuple[StateNeed, ...]] = field(default_factory=dict)   # code NAME -> needs
    keeps: dict[str, tuple[str, ...]] = field(default_factory=dict)             # code NAME -> states that it leaves as they are
    aligns: dict[str, int] = field(default_factory=dict)                        # code NAME -> alignment of the stack, if not the C ABI's
    regions: dict[str, Region] = field(default_factory=dict)
    boundaries: dict[str, Boundary] = field(default_factory=dict)               # the special ones
    ops: dict[str, Op] = field(default_factory=dict)                            # called code
    inlines: dict[str, Inline] = field(default_factory=dict)                    # code that is written out
    symbols: dict[str, SymbolAt] = field(default_factory=dict)
    assumes: tuple[Assume, ...] = ()
    landing: tuple[str, Guard] | None = None    # the form that every entry point starts with
    shadow_stacks: tuple[Guard, Span] | None = None             # where the CPU checks return addresses
    stacks: dict[str, Stack] = field(default_factory=dict)
    frames: dict[str, Frame] = field(default_factory=dict)
    paths: dict[str, Path] = field(default_factory=dict)        # entries (expanded), paths, exits, routines, in order
    methods: dict[str, Method] = field(default_factory=dict)
    choices: dict[str, Choice] = field(default_factory=dict)
    flag_sets: dict[str, dict[str, int]] = field(default_factory=dict)          # thread -> {NEED_RESCHED: bit}
    hooks: dict[str, Hook] = field(default_factory=dict)
    brackets: dict[str, Bracket] = field(default_factory=dict)
    works: dict[str, Work] = field(default_factory=dict)
    tables: dict[str, SyscallTable] = field(default_factory=dict)
    handlers: dict[str, Handler] = field(default_factory=dict)
    decisions: dict[str, Decision] = field(default_factory=dict)
    windows: dict[str, Window] = field(default_factory=dict)
    spans: dict[str, Span] = field(default_factory=dict)        # "constant NAME", "flag NAME" -> where it stands
    version: str = ""                           # of the kernel that the spec was read for; "": it names none
    versions: tuple[str, ...] = ()              # all that it names

    def applies(self, need: StateNeed, configuration: Configuration) -> bool:
        """Does a fact hold in a configuration: its own guard, and that of the state that it is about?"""
        state = self.states.get(need.subject)
        return configuration.holds(need.guard) and (state is None or configuration.holds(state.guard))

    def of_kind(self, kind: str) -> list[Path]:
        """Paths of a kind, in the order written."""
        return [p for p in self.paths.values() if p.kind == kind]

    def movers(self) -> dict[str, Call]:
        """The C functions that move a frame to another stack: name -> a call."""
        out: dict[str, Call] = {}
        for path in self.paths.values():
            for step in flat_steps(path.steps):
                if isinstance(step, Call) and step.move is not None:
                    out.setdefault(step.callee, step)
        return out

    def choice_among(self, exits: tuple[str, ...]) -> Choice | None:
        """A choice that picks among these exits, in this order: all that do are given in the same way."""
        return next((c for c in self.choices.values() if tuple(self.methods[m].exit for m in c.methods) == exits), None)

    def result_bits(self, choice: str | None) -> int:
        """The width of what a C function returns that makes a choice."""
        made = self.choices.get(choice or "")
        if made is None:
            return self.arch.result_bits
        return self.arch.word if made.by_address else made.bits or self.arch.result_bits

    def leads_to(self, hardware: str, configuration: Configuration) -> Stack | None:
        """The stack that a hardware stack leads to."""
        return next((s for s in self.stacks.values() if hardware in (s.entered, *s.also) and configuration.holds(s.guard)), None)

    def frame_of(self, path: Path) -> Frame | None:
        return self.frames[path.frame] if path.frame else None

    def return_of(self, path: Path) -> Return | None:
        """The return row that an exit path ends in."""
        for step in path.steps:
            if isinstance(step, ReturnStep):
                return self.arch.return_row(step.name, path.origin or "any")
        return None

    def table_slots(self, table: int | None, configuration: Configuration) -> list[int]:
        """Addresses of the slots of a vector table that starts at `table`; None: there is none."""
        return [table + p.event.found[1] for p in self.of_kind("entry") if table is not None and configuration.holds(p.guard)
                and p.event is not None and p.event.found[0] == "table"]
