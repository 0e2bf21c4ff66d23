"""From moves to instructions: loads, stores, constants, parking; direct forms first, a base register otherwise."""

from __future__ import annotations

from ..model.arch import Arch, Assign
from ..model.expr import Expr, Mem, Num, Reg
from ..model.spec import Spec
from .select import Chosen, find, plus


class NoForm(Exception):
    """The CPU has no instruction for a move; the message says which move and what would help."""


class Lower:
    """Pure requests: each returns the instructions, in order."""

    def __init__(self, spec: Spec) -> None:
        self.spec = spec
        self.arch: Arch = spec.arch

    def move(self, target: str, value: Expr) -> list[Chosen]:
        """target := register or constant."""
        if isinstance(value, Reg) and value.name == target:
            return []
        chosen = find(self.arch, Assign(Reg(target), value))
        if chosen is None:
            raise NoForm(f"{self.arch.name} has no instruction for this move into {target}")
        return [chosen]

    def address(self, target: str, base: str, offset: int) -> list[Chosen]:
        """target := base + offset."""
        if offset == 0 or (target == base and offset == 0):
            return self.move(target, Reg(base))
        chosen = find(self.arch, Assign(Reg(target), plus(Reg(base), offset)))
        if chosen is not None:
            return [chosen]
        chosen = find(self.arch, Assign(Reg(target), plus(Reg(target), offset)))
        if chosen is None:
            from ..model.expr import Binary
            chosen = find(self.arch, Assign(Reg(target), Binary("sub", Reg(base), Num(-offset))))
            if chosen is None:
                raise NoForm(f"{self.arch.name} cannot add {offset} to {base}")
            return [chosen]
        return [*self.move(target, Reg(base)), chosen]

    def adjust(self, register: str, offset: int) -> list[Chosen]:
        """register := register + offset."""
        from ..model.expr import Binary
        chosen = find(self.arch, Assign(Reg(register), plus(Reg(register), offset)))
        if chosen is None:
            chosen = find(self.arch, Assign(Reg(register), Binary("sub", Reg(register), Num(-offset))))
        if chosen is None:
            raise NoForm(f"{self.arch.name} cannot add {offset} to {register}")
        return [chosen]

    def load(self, target: str, base: str, offset: int, using: tuple[str, ...] = ()) -> list[Chosen]:
        """target := the word at base + offset; a system register as base or target needs a general one between."""
        direct = find(self.arch, Assign(Reg(target), Mem(plus(Reg(base), offset))))
        if direct is not None:
            return [direct]
        scratch = target if self.arch.registers[target].kind == "gpr" else (using[0] if using else None)
        if scratch is None:
            raise NoForm(f"{self.arch.name} cannot load {target} directly: write 'using' with a free register")
        out: list[Chosen] = []
        if self.arch.registers[base].kind == "system" and find(self.arch, Assign(Reg(scratch), Mem(plus(Reg(base), offset)))) is None:
            out += self.move(scratch, Reg(base))
            base = scratch
        step = find(self.arch, Assign(Reg(scratch), Mem(plus(Reg(base), offset))))
        if step is None:
            raise NoForm(f"{self.arch.name} cannot load from {base} + {offset:#x}")
        out.append(step)
        if scratch != target:
            out += self.move(target, Reg(scratch))
        return out

    def store(self, base: str, offset: int, value: Expr, using: tuple[str, ...] = ()) -> list[Chosen]:
        """The word at base + offset := register or constant."""
        direct = find(self.arch, Assign(Mem(plus(Reg(base), offset)), value))
        if direct is not None:
            return [direct]
        if not using:
            raise NoForm(f"{self.arch.name} cannot store this directly: write 'using' with a free register")
        out: list[Chosen] = []
        if not isinstance(value, Reg) or self.arch.registers[value.name].kind != "gpr":
            out += self.move(using[0], value)
            value = Reg(using[0])
            using = using[1:]
        if self.arch.registers[base].kind == "system" and find(self.arch, Assign(Mem(plus(Reg(base), offset)), value)) is None:
            if not using:
                raise NoForm(f"{self.arch.name} needs one more register in 'using' to reach {base}")
            out += self.move(using[0], Reg(base))
            base = using[0]
        step = find(self.arch, Assign(Mem(plus(Reg(base), offset)), value))
        if step is None:
            raise NoForm(f"{self.arch.name} cannot store to {base} + {offset:#x}")
        return [*out, step]

    def scratches(self, chosen: list[Chosen]) -> set[str]:
        """General registers that the instructions write."""
        out: set[str] = set()
        for form, operands in chosen:
            bound = dict(zip(form.params, operands, strict=True))
            for effect in form.effects:
                if isinstance(effect, Assign):
                    name = getattr(effect.place, "name", None)
                    register = bound.get(name) if name in form.params else name
                    if isinstance(register, str) and register in self.arch.registers and not isinstance(effect.place, Mem):
                        out.add(register)
        return out
