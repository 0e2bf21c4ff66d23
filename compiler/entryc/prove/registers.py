"""Registers of a symbolic machine: the lifter's, flags that it keeps bit by bit, and those that it does not know."""

from __future__ import annotations

from ..image.lift import Lifter, Place
from ..model.arch import Arch
from ..model.expr import Bit
from . import terms as T
from .state import State
from .terms import Term


class Registers:
    """Reads and writes registers of a state by their names in the .arch file."""

    def __init__(self, arch: Arch, lifter: Lifter) -> None:
        self.arch, self.lifter = arch, lifter
        self.places = {name: lifter.place(name) for name in arch.registers}
        self.flags = arch.registers[arch.of_kind("flags")]
        self.flag_places = {bit: lifter.registers[name.lower()] for name, bit in self.flags.lifter_bits.items()}

    def read(self, state: State, name: str) -> Term:
        """A register's value, 64 bits (or its own width, zero-extended)."""
        if name == self.flags.name:
            return self.read_flags(state)
        place = self.places[name]
        if place is None:
            return state.extra.setdefault(name, T.var(f"{name}@{state.epoch}"))
        return T.resize(self.load_register(state, place), 64)

    def load_register(self, state: State, place: Place) -> Term:
        return state.registers.load(place.offset, place.size, lambda offset, size: T.var(f"lifter.{offset:x}.{size}@{state.epoch}", size * 8))

    def write(self, state: State, name: str, value: Term) -> None:
        if name == self.flags.name:
            self.write_flags(state, value)
            return
        place = self.places[name]
        if place is None:
            state.extra[name] = value
        else:
            state.registers.store(place.offset, T.resize(value, place.size * 8))

    def read_flags(self, state: State) -> Term:
        whole = state.extra.setdefault(self.flags.name, T.var(f"flags@{state.epoch}"))
        changed = False
        for bit, place in self.flag_places.items():
            current = T.extract(self.load_register(state, place), 0, 1)
            if current is not T.extract(whole, bit, 1):
                changed = True
        if not changed:
            return whole
        parts = [T.extract(self.load_register(state, self.flag_places[b]), 0, 1) if b in self.flag_places else T.extract(whole, b, 1) for b in range(64)]
        value = parts[0]
        for part in parts[1:]:
            value = T.concat(part, value)
        return value

    def write_flags(self, state: State, value: Term) -> None:
        state.extra[self.flags.name] = value
        for bit, place in self.flag_places.items():
            state.registers.store(place.offset, T.resize(T.extract(value, bit, 1), place.size * 8))

    def read_bit(self, state: State, bit: Bit) -> Term:
        if bit.bit in self.flag_places:
            return T.extract(self.load_register(state, self.flag_places[bit.bit]), 0, 1)
        return T.extract(state.extra.setdefault(self.flags.name, T.var(f"flags@{state.epoch}")), bit.bit, 1)

    def write_bit(self, state: State, bit: Bit, value: Term) -> None:
        one = T.extract(value, 0, 1)
        if bit.bit in self.flag_places:
            place = self.flag_places[bit.bit]
            state.registers.store(place.offset, T.resize(one, place.size * 8))
        else:
            whole = state.extra.setdefault(self.flags.name, T.var(f"flags@{state.epoch}"))
            mask = T.const(~(1 << bit.bit))
            state.extra[self.flags.name] = T.bor(T.band(whole, mask), T.shift("shl", T.resize(one, 64), T.const(bit.bit)))
