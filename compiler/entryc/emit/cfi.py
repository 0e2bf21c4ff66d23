"""Unwind information from the effects of the instructions: where the frame's end is, and which slots hold what."""

from __future__ import annotations

from ..model.arch import Assign
from ..model.expr import Binary, CellRef, Expr, Mem, Num, Operand, Reg
from ..model.spec import Frame, Spec
from ..plan.code import Insn, LabelLine


class Unwind:
    """Follows sp through a run of lines and yields .cfi directives. The canonical frame address is the frame's end."""

    def __init__(self, spec: Spec) -> None:
        self.spec, self.arch = spec, spec.arch
        self.sp = spec.arch.of_kind("stack")
        self.tops = {(spec.memories[s.top.memory].base, spec.memories[s.top.memory].cells[s.top.cell].offset)
                     for s in spec.stacks.values() if isinstance(s.top, CellRef)}
        self.below: int | None = None
        self.frame: Frame | None = None

    def _dwarf(self, register: str) -> int | None:
        return self.arch.registers[register].facts.get("dwarf")

    def start(self, line: LabelLine) -> list[str]:
        """Directives at the start of an entry point or exit."""
        self.below = line.below
        name = line.frame or next(iter(self.spec.frames), None)
        self.frame = self.spec.frames[name] if name else None
        column = f".cfi_return_column\t{self._dwarf(self.arch.of_kind('pc'))}"
        if self.below is None or self.frame is None:
            return [column, f".cfi_undefined\t{self._dwarf(self.arch.of_kind('pc'))}"]
        out = [column, f".cfi_def_cfa\t{self._dwarf(self.sp)}, {self.below:#x}"]
        for slot in self.frame.slots.values():
            if slot.name in line.saved and slot.home is not None:
                out += self._saved(slot.home, slot.offset)
        return out

    def resume(self, line: LabelLine) -> list[str]:
        """Directives at a local label that is reached by a branch: the state there, not that of the line before."""
        self.below = line.below
        if self.below is None:
            return []
        return [f".cfi_def_cfa_offset\t{self.below:#x}", *self.start(line)[2:]]

    def _saved(self, register: str, offset: int) -> list[str]:
        number = self._dwarf(register)
        if number is None or self.frame is None:
            return []
        return [f".cfi_offset\t{number}, {offset - self.frame.size}"]

    def after(self, insn: Insn) -> list[str]:
        """Directives behind an instruction."""
        bound = dict(zip(insn.form.params, insn.operands, strict=True))
        out: list[str] = []
        for effect in insn.form.effects:
            if not isinstance(effect, Assign):
                continue
            place = bound.get(effect.place.name) if isinstance(effect.place, Operand) else getattr(effect.place, "name", None)
            if place == self.sp:
                out += self._moved(effect.value, bound)
            elif isinstance(effect.place, Mem) and self.below is not None and self.frame is not None:
                base, offset = _address(effect.place.address, bound)
                at = self.frame.size - self.below + offset
                slot = next((s for s in self.frame.slots.values() if s.offset == at), None)
                if base == self.sp and slot is not None and slot.home is not None:
                    out += self._saved(slot.home, slot.offset)
            elif isinstance(place, str) and isinstance(effect.value, Mem) and insn.form.role == "restore" and self.below is not None:
                base, _ = _address(effect.value.address, bound)
                number = self._dwarf(place) if place in self.arch.registers else None
                if base == self.sp and number is not None:
                    out.append(f".cfi_restore\t{number}")
        return out

    def _moved(self, value: Expr, bound: dict[str, str | int]) -> list[str]:
        base, offset = _address(value, bound)
        if base == self.sp and self.below is not None:
            self.below -= offset
            return [f".cfi_def_cfa_offset\t{self.below:#x}"] if offset else []
        if isinstance(value, Mem) and self.frame is not None:
            if _address(value.address, bound) in self.tops:     # an empty frame ends here
                self.below = 0
                return [f".cfi_def_cfa\t{self._dwarf(self.sp)}, 0x0"]
            self.below = None
            return [f".cfi_undefined\t{self._dwarf(self.arch.of_kind('pc'))}"]
        if self.frame is not None and isinstance(base, str):    # sp = frame's address
            self.below = self.frame.size
            return [f".cfi_def_cfa\t{self._dwarf(self.sp)}, {self.below:#x}"]
        return []


def _address(expr: Expr, bound: dict[str, str | int]) -> tuple[str | int | None, int]:
    """base register and constant offset of an address."""
    if isinstance(expr, Binary) and expr.op in ("add", "sub"):
        base, offset = _address(expr.a, bound)
        step = bound.get(expr.b.name) if isinstance(expr.b, Operand) else expr.b.value if isinstance(expr.b, Num) else None
        if isinstance(step, int):
            return base, offset + (step if expr.op == "add" else -step)
        return None, 0
    if isinstance(expr, Operand):
        return bound.get(expr.name), 0
    if isinstance(expr, Reg):
        return expr.name, 0
    return None, 0
