"""entry.h: the frame, memory blocks, constants and prototypes, for C, C++ and assembly."""

from __future__ import annotations

from collections.abc import Iterable

from ..model.check import flat_handler
from ..model.expr import Expr, FrameRef, Mem, Num, Reg, SlotRef, rebuild, walk
from ..model.spec import VECTOR_TABLE, Frame, Memory, Path, Spec
from ..model.steps import Call, Jump, Set, flat_steps
from ..plan.code import Code, LabelLine
from .c_text import aligned, c_type, comment, declare, expression, prototype, remark, remarks, upper
from .notice import notice


def emit_header(spec: Spec, code: Code) -> str:
    """The whole header."""
    out = [notice(spec, "/* {} */"), "#ifndef ENTRY_H", "#define ENTRY_H", ""]
    out += _combinations(spec)
    out += _defines("Constants of the spec.", ((name, f"{v:#x}" if v > 9 else str(v)) for name, v in spec.constants.items()))
    out += _offsets(spec)
    out += ["#ifndef __ASSEMBLER__", "", "#include <stdbool.h>", "#include <stddef.h>", "#include <stdint.h>", "",
            "#ifdef __cplusplus", 'extern "C" {', "#define ENTRY_ASSERT static_assert", "#else", "#define ENTRY_ASSERT _Static_assert", "#endif", ""]
    for frame in spec.frames.values():
        out += _frame(spec, frame)
    for name in sorted({m.kind for memory in spec.memories.values() for m in memory.members if m.kind in spec.arch.structs}):
        out += _hardware_struct(spec, name)
    for memory in spec.memories.values():
        out += _memory(memory)
    out += _choices(spec)
    for name, flags in spec.flag_sets.items():
        out += _defines(f"Flags of {name}.", ((flag, f"UINT64_C({1 << bit:#x})") for flag, bit in flags.items()))
    out += _symbols(spec, code)
    out += _hooks(spec)
    out += ["#ifdef __cplusplus", "}", "#endif", "", "#endif /* __ASSEMBLER__ */", "#endif /* ENTRY_H */"]
    return "\n".join(out) + "\n"


def _combinations(spec: Spec) -> list[str]:
    """Only the configurations of the spec are proved: other combinations of features do not compile."""
    if not spec.features:
        return []
    out = ["/* The combinations of features that are proved. */"]
    for index, configuration in enumerate(spec.configurations.values()):
        terms = [f"{'' if name in configuration.features else '!'}defined(CONFIG_{name})" for name in spec.features]
        lines, line = [], ("#if (" if index == 0 else "\t(") + terms[0]
        for term in terms[1:]:
            if len(line) + len(term) > 78:
                lines.append(line + " && \\")
                line = "\t " + term
            else:
                line += f" && {term}"
        last = index == len(spec.configurations) - 1
        out += [*lines, line + (")" if last else ") || \\") + f" /* {configuration.name} */" * last]
    return [*out, "#else", '#error "no configuration of the spec has this combination of features"', "#endif", ""]


def _defines(title: str, rows: Iterable[tuple[str, str]]) -> list[str]:
    """A block of #define lines, values in one column."""
    all_rows = list(rows)
    column = max((len(name) + 9 for name, _ in all_rows), default=0) // 8 * 8
    return [remark(title), *(aligned(f"#define {name}", column, value) for name, value in all_rows), ""] if all_rows else []


def _offsets(spec: Spec) -> list[str]:
    """Byte offsets of slots and words, for assembly."""
    rows: list[tuple[str, str]] = []
    for frame in spec.frames.values():
        rows += [(f"{upper(frame.name)}_{upper(s.name)}_OFFSET", f"{s.offset:#x}") for s in frame.slots.values()]
        rows.append((f"{upper(frame.name)}_SIZE", f"{frame.size:#x}"))
    for memory in spec.memories.values():
        rows += [(f"{upper(memory.name)}_{upper(c.name.replace('.', '_'))}_OFFSET", f"{c.offset:#x}") for c in memory.cells.values()]
        rows.append((f"{upper(memory.name)}_SIZE", f"{memory.size:#x}"))
    return _defines("Offsets and sizes in bytes, for assembly.", rows)


def _field(declaration: str, offset: int, size: int) -> str:
    return aligned(f"\t{declaration};", 40, f"/* {offset:#5x}  {size} */")


def _asserts(kind: str, name: str, size: int, places: Iterable[tuple[str, int]]) -> list[str]:
    return [f'ENTRY_ASSERT(sizeof({kind}) == {size}, "size of {kind}");',
            *(f'ENTRY_ASSERT(offsetof({kind}, {field}) == {offset}, "place of {name}.{field}");' for field, offset in places), ""]


def _frame(spec: Spec, frame: Frame) -> list[str]:
    out = [remark("The saved registers, lowest address first: offset and size in bytes."), f"{frame.c_name} {{"]
    out += [_field(f"uint64_t {s.name}", s.offset, spec.arch.word_bytes) for s in frame.slots.values()]
    out += ["};", *_asserts(frame.c_name, frame.name, frame.size, ((s.name, s.offset) for s in frame.slots.values()))]
    test = from_user(spec, frame)
    if test is not None:
        out += [remark("Was user mode interrupted?"), f"static inline bool {test[0]}(const {frame.c_name} *{frame.name})", "{",
                f"\treturn {test[1]};", "}", ""]
    return out


def from_user(spec: Spec, frame: Frame) -> tuple[str, str] | None:
    """The C function that tells the origin from a frame, and its condition; None where the frame does not keep what tells it."""
    homes = {s.home: s.name for s in frame.slots.values() if s.home}

    def place(expr: Expr) -> Expr:
        if isinstance(expr, Num):
            return Num(expr.value)
        return SlotRef(frame.name, homes[expr.name]) if isinstance(expr, Reg) and expr.name in homes else expr

    def able(one: Frame) -> bool:
        kept = {s.home for s in one.slots.values()}
        return spec.arch.origin is not None and all(e.name in kept for e in walk(spec.arch.origin) if isinstance(e, Reg))

    if spec.arch.origin is None or not able(frame):
        return None
    first = next(f.name for f in spec.frames.values() if able(f))
    return ("entry_from_user" if first == frame.name else f"entry_from_user_{frame.name}"), expression(spec, rebuild(spec.arch.origin, place))


def _hardware_struct(spec: Spec, name: str) -> list[str]:
    row = spec.arch.structs[name]
    out, at = [remark(row.meaning), f"struct {name} {{"], 0
    for field, (offset, size) in sorted(row.fields.items(), key=lambda item: item[1]):
        if offset > at:
            out.append(_field(f"uint8_t reserved_{at}[{offset - at}]", at, offset - at))
        out.append(_field(f"uint{size * 8}_t {field}", offset, size))
        at = offset + size
    if row.size > at:
        out.append(_field(f"uint8_t reserved_{at}[{row.size - at}]", at, row.size - at))
    places = ((field, offset) for field, (offset, _) in row.fields.items())
    return [*out, "} __attribute__((packed));", *_asserts(f"struct {name}", name, row.size, places)]


def _memory(memory: Memory) -> list[str]:
    out = [remark(f"Reached through {memory.base} in entry code; a kernel may put more behind it."), f"struct {memory.name} {{"]
    for member in memory.members:
        declaration = {"word": f"uint64_t {member.name}", "counters": f"uint64_t {member.name}[{member.size // 8}]"}.get(member.kind)
        out.append(_field(declaration or f"struct {member.kind} {member.name}", member.offset, member.size))
    places = {m.name: m.offset for m in memory.members} | {c.name: c.offset for c in memory.cells.values()}
    return [*out, "};", *_asserts(f"struct {memory.name}", memory.name, memory.size, places.items())]


def clause_names(spec: Spec, choice: str) -> list[str]:
    """Refusing clauses of a choice in counting order."""
    return [f"{upper(choice)}_REFUSED_{upper(c.name)}" for m in spec.choices[choice].methods for c in spec.methods[m].clauses]


def _choices(spec: Spec) -> list[str]:
    out: list[str] = []
    for choice in spec.choices.values():
        out += [remark(f"What C returns to choose {choice.name}; also the index of its counter."), "enum {"]
        out += [f"\t{upper(choice.name)}_{upper(m)} = {choice.index(m)}," for m in reversed(choice.methods)]
        out += ["};"]
        if choice.by_address:
            out += [f"extern const char {spec.methods[m].exit}[];" for m in dict.fromkeys(choice.methods)]
        names = clause_names(spec, choice.name)
        if names:
            out += [remark("The clause that refused: the index of its counter."), "enum {", *[f"\t{n} = {i}," for i, n in enumerate(names)], "};"]
        out.append("")
    return out


def _symbols(spec: Spec, code: Code) -> list[str]:
    out = ["/* Entered by the CPU; never called. */"]
    for path in spec.of_kind("entry"):
        out.append(f"void {path.name}(void);")
    if any(isinstance(line, LabelLine) and line.name == VECTOR_TABLE for line in code.lines):
        out.append("extern const char entry_vectors[];")
    for path in spec.of_kind("routine"):
        if path.frame is None:
            out += ["", *_routine(spec, path)]
            continue
        frame = spec.frames[path.frame]
        out += ["", "/* Restores everything from the frame and goes to user mode. Call it with interrupts off. */",
                prototype("void", path.name, [f"{frame.c_name} *{frame.name}"], " __attribute__((noreturn));")]
    out += ["", "/* Once, then on each CPU: what makes the CPU use the entry points. */", "void entry_setup(void);",
            prototype("void", "entry_setup_cpu", [f"struct {m} *{m}" for m in spec.memories], ";"), ""]
    return out + _windows(spec, code)


def _routine(spec: Spec, path: Path) -> list[str]:
    """Assembly that C calls, or that a frame of C's leads to."""
    if path.resumed is not None:
        return [remark(f"Where a struct {path.resumed} that C has made returns to; never called."), f"void {path.name}(void);"]
    written = [s.place.address for s in flat_steps(path.steps) if isinstance(s, Set) and isinstance(s.place, Mem)]
    params = [f"uint64_t {'*' if Reg(register) in written else ''}{name}" for name, register in zip(path.arguments, spec.arch.abi.args, strict=False)]
    return [remark("Call it with interrupts off."), prototype("void", path.name, params, ";")]


def _windows(spec: Spec, code: Code) -> list[str]:
    labels = [line.name for line in code.lines if isinstance(line, LabelLine)]
    out: list[str] = []
    for window in spec.windows.values():
        starts = [n for n in labels if n.startswith(window.name + "_") and n.endswith("_begin")]
        if not starts:
            continue
        out += [f"extern const char {n}[], {n.removesuffix('_begin')}_end[];" for n in starts]
        tests = [f"(ip >= (uintptr_t){n} &&\n\t\tip < (uintptr_t){n.removesuffix('_begin')}_end)" for n in starts]
        out += [remark(f"Is this the address of an instruction at which {window.subject} = {window.value}?"),
                f"static inline bool entry_in_{window.name}(uint64_t ip)", "{", "\treturn " + " ||\n\t       ".join(tests) + ";", "}", ""]
    return out


def _hooks(spec: Spec) -> list[str]:
    out: list[str] = ["/* Supplied by the kernel. */"] if spec.hooks else []
    ends = _never_return(spec)
    for hook in spec.hooks.values():
        if hook.meaning:
            out += remarks(hook.meaning)
        params = [declare(c_type(spec, kind), name) for kind, name in hook.params]
        out.append(prototype(c_type(spec, hook.result), hook.name, params, " __attribute__((noreturn));" if hook.name in ends else ";"))
    out += [""] if spec.hooks else []
    declared: set[str] = set()
    for table in spec.tables.values():
        out.append(f"/* System calls of table {comment(table.name)}, supplied by the kernel. */")
        for row in table.rows:
            if row.name in declared:
                continue
            declared.add(row.name)
            head = prototype("int64_t", row.name, [f"uint64_t a{i}" for i in range(row.count)], ";")
            out.append(aligned(head, 64, f"/* {row.number} */") if "\n" not in head and len(head) < 90 else head)
        out.append("")
    calls = external_calls(spec)
    return [*out, "/* Called from assembly. */", *calls, ""] if calls else out


def _never_return(spec: Spec) -> set[str]:
    """Functions that assembly jumps to, and that nothing calls: they must not return."""
    steps = [s for p in spec.paths.values() for s in flat_steps(p.steps)]
    called = {s.callee for s in steps if isinstance(s, Call)} | set(spec.handlers)
    called |= {s.call.name for h in spec.handlers.values() for s in flat_handler(h) if s.call is not None}
    called |= {c.name for b in spec.brackets.values() for c in (*b.enter, *b.leave)}
    called |= {r.call.name for w in spec.works.values() for r in w.rows} | {w.read.name for w in spec.works.values()}
    return {s.callee for s in steps if isinstance(s, Jump)} - called


def external_calls(spec: Spec) -> list[str]:
    """Prototypes of C functions that assembly calls: written by entryc, or by the kernel."""
    out: list[str] = []
    seen: set[str] = set()
    ends = _never_return(spec)
    for path in spec.paths.values():
        for step in flat_steps(path.steps):
            if isinstance(step, (Call, Jump)) and step.callee not in seen and step.callee not in spec.hooks:
                seen.add(step.callee)
                handler = spec.handlers.get(step.callee)
                params = [f"{spec.frames[a.frame].c_name} *{a.frame}" if isinstance(a, FrameRef) else f"uint64_t a{i}" for i, a in enumerate(step.arguments)]
                chooses = handler.choice if handler is not None else step.binds if isinstance(step, Call) else None
                result = f"uint{spec.result_bits(chooses)}_t" if chooses else "void"
                if isinstance(step, Call) and step.move is not None:
                    result = f"{spec.frames[step.move.frame].c_name} *"
                out.append(prototype(result, step.callee, params, " __attribute__((noreturn));" if step.callee in ends else ";"))
    return out


__all__ = ["clause_names", "emit_header", "external_calls", "from_user"]
