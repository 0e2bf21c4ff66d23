"""entry.h: the frame, memory blocks, constants and prototypes, for C, C++ and assembly."""

from __future__ import annotations

from ..model.build_steps import flat_steps
from ..model.expr import FrameRef
from ..model.spec import Call, Frame, Jump, Memory, Spec
from ..plan.code import Code, LabelLine
from .c_text import c_type, comment, declare, number, prototype, remark, upper
from .notice import notice


def emit_header(spec: Spec, code: Code) -> str:
    """The whole header."""
    out = [notice(spec, "/* {} */"), "#ifndef ENTRY_H", "#define ENTRY_H", ""]
    out += _constants(spec)
    out += _offsets(spec)
    out += ["#ifndef __ASSEMBLER__", "", "#include <stdbool.h>", "#include <stddef.h>", "#include <stdint.h>", "",
            "#ifdef __cplusplus", 'extern "C" {', "#define ENTRY_ASSERT static_assert", "#else", "#define ENTRY_ASSERT _Static_assert", "#endif", ""]
    for frame in spec.frames.values():
        out += _frame(spec, frame)
    used = {m.kind for memory in spec.memories.values() for m in memory.members if m.kind in spec.arch.structs}
    for name in sorted(used):
        out += _hardware_struct(spec, name)
    for memory in spec.memories.values():
        out += _memory(spec, memory)
    out += _choices(spec)
    out += _symbols(spec, code)
    out += _hooks(spec)
    out += ["#ifdef __cplusplus", "}", "#endif", "", "#endif /* __ASSEMBLER__ */", "#endif /* ENTRY_H */"]
    return "\n".join(out) + "\n"


def _constants(spec: Spec) -> list[str]:
    out = [f"#define {name}\t{value:#x}" if value > 9 else f"#define {name}\t{value}" for name, value in spec.constants.items()]
    return [*out, ""] if out else []


def _offsets(spec: Spec) -> list[str]:
    """Byte offsets of slots and words, for assembly."""
    out: list[str] = []
    for frame in spec.frames.values():
        prefix = upper(frame.name)
        out += [f"#define {prefix}_{upper(s.name)}_OFFSET\t{s.offset:#x}" for s in frame.slots.values()]
        out.append(f"#define {prefix}_SIZE\t{frame.size:#x}")
    for memory in spec.memories.values():
        prefix = upper(memory.name)
        out += [f"#define {prefix}_{upper(c.name.replace('.', '_'))}_OFFSET\t{c.offset:#x}" for c in memory.cells.values()]
        out.append(f"#define {prefix}_SIZE\t{memory.size:#x}")
    return [*out, ""] if out else []


def _frame(spec: Spec, frame: Frame) -> list[str]:
    out = ["/* The saved registers, lowest address first. */", f"{frame.c_name} {{"]
    for slot in frame.slots.values():
        field = f"\tuint64_t {slot.name};"
        out.append(field + "\t" * max(1, (40 - len(field.expandtabs(8)) + 7) // 8) + f"/* {slot.offset:#5x}  {spec.arch.word_bytes} */")
    out += ["};", f'ENTRY_ASSERT(sizeof({frame.c_name}) == {frame.size}, "size of {frame.c_name}");']
    out += [f'ENTRY_ASSERT(offsetof({frame.c_name}, {s.name}) == {s.offset}, "place of {frame.name}.{s.name}");' for s in frame.slots.values()]
    return [*out, ""]


def _hardware_struct(spec: Spec, name: str) -> list[str]:
    row = spec.arch.structs[name]
    out, at = [remark(row.meaning), f"struct {name} {{"], 0
    for field, (offset, size) in row.fields.items():
        if offset > at:
            out.append(f"\tuint8_t reserved_{at}[{offset - at}];")
        out.append(f"\tuint{size * 8}_t {field};")
        at = offset + size
    if row.size > at:
        out.append(f"\tuint8_t reserved_{at}[{row.size - at}];")
    return [*out, "} __attribute__((packed));", f'ENTRY_ASSERT(sizeof(struct {name}) == {row.size}, "size of struct {name}");', ""]


def _memory(spec: Spec, memory: Memory) -> list[str]:
    out = [f"/* Reached through {memory.base} in entry code; a kernel may put more behind it. */", f"struct {memory.name} {{"]
    for member in memory.members:
        if member.kind == "word":
            field = f"\tuint64_t {member.name};"
        elif member.kind == "counters":
            field = f"\tuint64_t {member.name}[{member.size // 8}];"
        else:
            field = f"\tstruct {member.kind} {member.name};"
        out.append(field + "\t" * max(1, (40 - len(field.expandtabs(8)) + 7) // 8) + f"/* {member.offset:#5x}  {member.size} */")
    out += ["};", f'ENTRY_ASSERT(sizeof(struct {memory.name}) == {memory.size}, "size of struct {memory.name}");']
    out += [f'ENTRY_ASSERT(offsetof(struct {memory.name}, {c.name}) == {c.offset}, "place of {memory.name}.{c.name}");' for c in memory.cells.values()]
    return [*out, ""]


def clause_names(spec: Spec, choice: str) -> list[str]:
    """Refusing clauses of a choice in counting order."""
    return [f"{upper(choice)}_REFUSED_{upper(c.name)}" for m in spec.choices[choice].methods for c in spec.methods[m].clauses]


def _choices(spec: Spec) -> list[str]:
    out: list[str] = []
    for choice in spec.choices.values():
        out += ["/* What C returns to choose a return method; also the index of its counter. */", "enum {"]
        out += [f"\t{upper(choice.name)}_{upper(m)} = {choice.index(m)}," for m in reversed(choice.methods)]
        out += ["};"]
        names = clause_names(spec, choice.name)
        if names:
            out += ["/* The clause that refused: the index of its counter. */", "enum {", *[f"\t{n} = {i}," for i, n in enumerate(names)], "};"]
        out.append("")
    for flags in spec.flag_sets.values():
        out += [f"#define {name}\t{number(1 << bit) if bit > 3 else f'UINT64_C({1 << bit:#x})'}" for name, bit in flags.items()] + [""]
    return out


def _symbols(spec: Spec, code: Code) -> list[str]:
    out = ["/* Entered by the CPU; never called. */"]
    for path in spec.of_kind("entry"):
        out.append(f"void {path.name}(void);")
    if any(isinstance(line, LabelLine) and line.name == "entry_vectors" for line in code.lines):
        out.append("extern const char entry_vectors[];")
    for path in spec.of_kind("routine"):
        frame = spec.frames[path.frame or ""]
        out += ["", f"/* Restores everything from the frame and goes to user mode. Call it with interrupts off. */",
                f"void {path.name}({frame.c_name} *{frame.name}) __attribute__((noreturn));"]
    out += ["", "/* Once, then on each CPU: what makes the CPU use the entry points. */", "void entry_setup(void);",
            f"void entry_setup_cpu({', '.join(f'struct {m} *{m}' for m in spec.memories) or 'void'});", ""]
    return out + _windows(spec, code)


def _windows(spec: Spec, code: Code) -> list[str]:
    labels = [line.name for line in code.lines if isinstance(line, LabelLine)]
    out: list[str] = []
    for window in spec.windows.values():
        starts = [n for n in labels if n.startswith(window.name + "_") and n.endswith("_begin")]
        if not starts:
            continue
        out += [f"extern const char {n}[], {n.removesuffix('_begin')}_end[];" for n in starts]
        tests = [f"(ip >= (uintptr_t){n} && ip < (uintptr_t){n.removesuffix('_begin')}_end)" for n in starts]
        out += [f"/* Is this an instruction at which {window.subject} = {window.value}? */",
                f"static inline bool entry_in_{window.name}(uint64_t ip)", "{", "\treturn " + " ||\n\t       ".join(tests) + ";", "}", ""]
    return out


def _hooks(spec: Spec) -> list[str]:
    out: list[str] = []
    if spec.hooks:
        out.append("/* Supplied by the kernel. */")
    for hook in spec.hooks.values():
        if hook.meaning:
            out.append(remark(hook.meaning))
        params = [declare(c_type(spec, kind), name) for kind, name in hook.params]
        out.append(prototype(c_type(spec, hook.result), hook.name, params) + ";")
    for table in spec.tables.values():
        out += ["", f"/* System calls of table {comment(table.name)}, supplied by the kernel. */"]
        for row in table.rows:
            out.append(prototype("int64_t", row.name, [f"uint64_t a{i}" for i in range(row.count)]) + f";\t/* {row.number} */")
    out += ["", *external_calls(spec), ""]
    return out


def external_calls(spec: Spec) -> list[str]:
    """Prototypes of C functions that assembly calls: written by entryc, or by the kernel."""
    out: list[str] = []
    seen: set[str] = set()
    for path in spec.paths.values():
        for step in flat_steps(path.steps):
            if isinstance(step, (Call, Jump)) and step.callee not in seen and step.callee not in spec.hooks:
                seen.add(step.callee)
                handler = spec.handlers.get(step.callee)
                params = [f"{spec.frames[a.frame].c_name} *{a.frame}" if isinstance(a, FrameRef) else f"uint64_t a{i}" for i, a in enumerate(step.arguments)]
                result = f"uint{spec.arch.result_bits}_t" if handler is not None and handler.choice else "void"
                out.append(prototype(result, step.callee, params) + ";")
    return (["/* Called from assembly. */", *out]) if out else []
