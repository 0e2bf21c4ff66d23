"""The rules of a comparison: what a difference is called, whom it meets, and how much it weighs. `entryc diff --rules` prints them.

A level is what a user of the old spec has to expect: breaking (something of his stops working, or protection is lost), risky (he has to look), compatible.
"""

from __future__ import annotations

from dataclasses import dataclass

LEVELS = ("breaking", "risky", "compatible")                            # worst first
CATEGORIES = ("user ABI", "C ABI", "security", "behaviour", "code only", "cosmetic")
KINDS = ("added", "removed", "changed", "moved", "raised", "lowered", "renamed", "weakened", "strengthened")
MIRROR = {"added": "removed", "removed": "added", "raised": "lowered", "lowered": "raised", "weakened": "strengthened", "strengthened": "weakened"}
B, R, C = LEVELS


@dataclass(frozen=True)
class Rule:
    """One kind of difference. `levels`: kind -> level, and category where it is another one; kinds that are not named weigh as `changed`."""

    code: str
    title: str                                  # what differs
    category: str
    levels: dict[str, str | tuple[str, str]]
    purpose: str                                # why a reader wants to know

    def weigh(self, kind: str) -> tuple[str, str]:
        """(category, level) of a difference of a kind: added, removed, changed, moved, raised, lowered, renamed, weakened, strengthened."""
        found = self.levels.get(kind, self.levels.get("changed", R))
        return found if isinstance(found, tuple) else (self.category, found)


def _table(*rows: Rule) -> dict[str, Rule]:
    out: dict[str, Rule] = {}
    for row in rows:
        assert row.code not in out and row.category in CATEGORIES, row.code
        out[row.code] = row
    return out


def _levels(added: str, removed: str, changed: str, moved: str | None = None) -> dict[str, str | tuple[str, str]]:
    return {"added": added, "removed": removed, "changed": changed, "moved": moved or changed}


SEEN, C_ABI, SAFE, DOES, CODE, LOOKS = CATEGORIES

RULES = _table(
    # ---- the spec as a whole ----
    Rule("D001", "CPU", CODE, _levels(C, C, C), "The specs are for two CPUs: only what they mean on any CPU is compared."),
    Rule("D002", "target", DOES, _levels(B, B, B), "What the spec describes: code to be made, code that exists, Linux."),
    Rule("D003", "licence", CODE, _levels(C, C, C), "The licence of the files that are written."),
    Rule("D004", "feature", C_ABI, _levels(C, B, R),
         "A build option or CPU feature that the code depends on: builds set CONFIG_NAME, kernels patch by its number."),
    Rule("D005", "configuration", DOES, _levels(C, B, R), "A combination of features that is proved; others do not compile."),
    Rule("D006", "constant", C_ABI, _levels(C, B, B), "entry.h defines it for C and assembly."),
    Rule("D007", "set-up value", SAFE, _levels(R, B, B),
         "A value that the kernel programs into the CPU: selectors that user code sees, flags that an entry clears."),
    # ---- memory ----
    Rule("D010", "memory block", C_ABI, _levels(C, B, B), "A block that C declares and entry code reaches."),
    Rule("D011", "base of a memory block", DOES, _levels(B, B, B), "The register through which a block is reached."),
    Rule("D012", "condition of access", SAFE, _levels(C, B, R),
         "What has to hold wherever the block is read or written; without it, entry code may touch it with the user's base."),
    Rule("D013", "member of a memory block", C_ABI, _levels(R, B, B), "Its place and size in the C struct, and in assembly."),
    Rule("D014", "word in the image", DOES, _levels(R, R, R), "Where an existing kernel keeps a word, how entry code reaches it, and what is kept there."),
    Rule("D015", "counters", C_ABI, _levels(C, B, B), "C and tools read them: their place, and what they count."),
    Rule("D016", "memory region", SAFE, _levels(R, R, R), "Memory that is mapped, or safe to load from, only under conditions."),
    # ---- machine state ----
    Rule("D020", "machine state", SAFE, _levels(C, B, R),
         "State that is tracked on every path and demanded by contracts: removed, nothing asks for it any more."),
    Rule("D021", "value of a machine state", SAFE, _levels(C, R, R), "A value that the state may have."),
    Rule("D022", "meaning of a state's value", SAFE, _levels(R, B, B), "What registers hold when the state has the value: proofs are about this."),
    Rule("D023", "transition of a state", DOES, _levels(R, R, R), "The instruction or op that takes the state from one value to another."),
    Rule("D024", "state after a decision", SAFE, _levels(C, B, R), "What a decision in assembly leaves uncertain, such as what a CPU runs ahead with."),
    Rule("D025", "fact that is assumed", SAFE, _levels(R, C, R), "Believed of the kernel, and printed with every verdict."),
    Rule("D026", "op", DOES, _levels(R, R, R), "Code that brings a state about: its steps, registers and decisions."),
    Rule("D027", "called code", SAFE, _levels(R, R, R), "Assembly that is believed by contract: what it needs, changes and promises."),
    Rule("D028", "symbol", CODE, _levels(C, R, R), "A place in the image that the spec names."),
    Rule("D029", "landing instruction", SAFE, _levels(C, B, B), "What every entry point starts with, where the CPU demands it."),
    Rule("D030", "shadow stacks", SAFE, _levels(C, B, B), "Whether the CPU checks return addresses."),
    # ---- boundaries and contracts ----
    Rule("D035", "what is found on arrival", SAFE, _levels(R, R, R), "What entry code may rely on: a fact more is trust, a fact less is work."),
    Rule("D036", "what has to hold on leaving", SAFE, _levels(C, B, R), "What user mode, or interrupted kernel code, gets back."),
    Rule("D037", "special boundary", SAFE, _levels(R, B, R), "A place where an event finds another state than usual, and the test that tells it."),
    Rule("D038", "contract of C code", SAFE, _levels(C, B, R), "What holds when C is called."),
    Rule("D039", "need of a contract", SAFE, _levels(C, B, R), "What C code can rely on: a need less, and nothing proves it any more."),
    Rule("D040", "state that C keeps", SAFE, _levels(R, C, R), "What is believed to be the same after C has run."),
    Rule("D041", "stack alignment for C", C_ABI, _levels(R, R, R), "The alignment of the stack pointer when C is called."),
    Rule("D042", "stack", DOES, _levels(C, R, R), "A kernel stack: where it lies, and what leads to it."),
    Rule("D043", "size of a stack", DOES, {"raised": C, "lowered": R, "changed": R}, "What fits on it."),
    # ---- frames ----
    Rule("D050", "frame", C_ABI, _levels(C, B, B), "Saved registers in memory, as C sees them."),
    Rule("D051", "slot of a frame", C_ABI, _levels(R, B, B, B), "Its place in the C struct; tools that read saved registers know it too."),
    Rule("D052", "register that a slot keeps", DOES, _levels(R, B, B), "Whose value C finds there."),
    Rule("D053", "what a slot holds without a source", DOES, _levels(R, R, R), "A vector number, an error code, or a value in its place."),
    Rule("D054", "hardware frame", C_ABI, _levels(B, B, B), "The words that the CPU pushes and pops."),
    Rule("D055", "name of a C struct", C_ABI, _levels(B, B, B), "C code declares pointers to it."),
    Rule("D056", "size of a frame or block", C_ABI, _levels(R, R, R), "Bytes that it takes on a stack or for each CPU."),
    # ---- entry points and exits ----
    Rule("D060", "entry point", SEEN, _levels(C, B, B), "An event that the kernel takes: removed, user code or hardware has no way in."),
    Rule("D061", "who may raise it", SAFE, {"added": B, "removed": (SEEN, B), "changed": B},
         "The privilege of a gate: user code may raise the event by an instruction."),
    Rule("D062", "stack of an entry point", SAFE, _levels(C, B, R),
         "The stack that the gate switches to: without one, an event that strikes anywhere runs on what it finds."),
    Rule("D063", "paranoid entry", SAFE, _levels(C, B, R), "The event may strike where kernel code has the user's state: it has to look, not to believe."),
    Rule("D064", "configurations of a path", DOES, _levels(R, R, R), "The features with which it exists."),
    Rule("D065", "origin", DOES, _levels(B, B, B), "Who is interrupted, or returned to."),
    Rule("D066", "symbol of a path", CODE, {"changed": C, "renamed": C}, "Its name, which profilers and boot code know."),
    Rule("D067", "place of a vector's stub", CODE, _levels(C, C, C), "Where the stub lies when it has no symbol of its own."),
    Rule("D068", "exit path", DOES, _levels(C, B, R), "A way out of the kernel."),
    Rule("D069", "routine", C_ABI, _levels(C, B, B), "Assembly that C calls, and its arguments."),
    Rule("D070", "shared path", CODE, _levels(C, C, C), "Steps that several paths go through."),
    Rule("D071", "registers that are not given back", SEEN, _levels(B, C, B), "What the interrupted code does not find again."),
    Rule("D072", "promise of C about the frame", SAFE, _levels(R, C, R), "Believed where the exit is taken: C has to keep it."),
    Rule("D073", "registers that a routine changes", SEEN, _levels(R, R, R), "Registers of user mode that have other values afterwards."),
    Rule("D074", "frame of a path", DOES, _levels(B, B, B), "The saved registers that it works on."),
    # ---- steps ----
    Rule("D080", "state step", SAFE, _levels(R, B, B, R), "Brings machine state to a value: a switch of base, page table, fence, flag."),
    Rule("D081", "stack switch", DOES, _levels(R, B, B, R), "From here on the path runs on another stack."),
    Rule("D082", "assignment", DOES, _levels(R, R, R), "A load, a store or a move."),
    Rule("D083", "save", DOES, _levels(R, B, R), "Registers that are put into the frame."),
    Rule("D084", "value that is saved", SEEN, _levels(R, R, B), "What C, and whoever reads the frame, finds in a slot."),
    Rule("D085", "clear", SAFE, _levels(C, B, R, R), "Registers that no longer hold what user code chose when C runs."),
    Rule("D086", "restore", SEEN, _levels(R, B, R), "Registers that the interrupted code gets back."),
    Rule("D087", "label", CODE, _levels(C, C, C), "A global symbol for profilers and windows."),
    Rule("D088", "call of C", DOES, _levels(R, B, B, R), "The C function, its arguments, its contract."),
    Rule("D089", "jump to C", DOES, _levels(R, B, B), "A C function that never returns."),
    Rule("D090", "where a path goes on", DOES, _levels(R, R, R), "The shared path that it goes to."),
    Rule("D091", "how a path ends", DOES, _levels(R, B, B), "The exit that is taken, and who decides."),
    Rule("D092", "decision on the origin", DOES, _levels(R, R, R), "The arms for user mode, kernel code and special boundaries."),
    Rule("D093", "mitigation or other called code", SAFE, _levels(C, B, R, R), "Code that a path runs by contract: a barrier, a flush, a clean-up."),
    Rule("D094", "check in assembly", SAFE, _levels(C, B, R), "Code stops where a condition does not hold."),
    Rule("D095", "move of the stack pointer", CODE, _levels(R, R, R), "Room, drops and frames that are taken over."),
    Rule("D096", "return instruction", SEEN, _levels(B, B, B), "What it restores, and what it demands of the frame."),
    Rule("D097", "scratch registers", CODE, _levels(C, C, C), "Registers that a step uses on the way."),
    Rule("D098", "configurations of a step", DOES, _levels(R, R, R), "The features with which it runs."),
    Rule("D099", "order of steps", SAFE, _levels(R, R, R), "A step runs earlier or later than it did."),
    Rule("D100", "other step", DOES, _levels(R, R, R), "A step that entry code does not have."),
    # ---- return methods ----
    Rule("D110", "return method", DOES, _levels(C, R, B), "A way to return, and its exit path."),
    Rule("D111", "clause of a return method", SAFE, {"added": (DOES, C), "removed": B, "changed": B, "weakened": B, "strengthened": (DOES, C),
         "moved": (CODE, C)},
         "A condition on the frame: without it the method is taken for frames that its instruction may fault on or leak with."),
    Rule("D112", "name of a refusal", C_ABI, _levels(C, R, R), "What a refusing clause is counted as."),
    Rule("D113", "choice of methods", C_ABI, _levels(C, B, R), "What C decides between, and what it gives back."),
    Rule("D114", "method in a choice", DOES, _levels(C, R, R), "The methods in the order they are tried; the last is the fallback."),
    Rule("D115", "how C refuses a method", C_ABI, _levels(B, B, B), "What C that exists gives for the first of two methods, and in how many bits: 0, or 1."),
    # ---- C: exit work, handlers, hooks ----
    Rule("D120", "flag", C_ABI, _levels(C, B, B), "A bit that asks for exit work."),
    Rule("D121", "hook", C_ABI, _levels(B, B, B), "A C function that the kernel has to supply: its name and types."),
    Rule("D122", "bracket", DOES, _levels(C, R, R), "Bookkeeping around a stay in the kernel."),
    Rule("D123", "call of bookkeeping", DOES, _levels(R, B, R), "A call on the way in or out, in order."),
    Rule("D124", "exit work", DOES, _levels(C, B, R), "What is done before a return."),
    Rule("D125", "row of exit work", DOES, _levels(R, B, R), "A flag's work."),
    Rule("D126", "order of exit work", DOES, _levels(R, R, R), "Work that is done before or after other work."),
    Rule("D127", "mask of exit work", DOES, _levels(R, B, R), "The flags that a piece of work answers to."),
    Rule("D128", "interrupts during exit work", DOES, _levels(R, R, R), "Whether the work may be interrupted, or sleep."),
    Rule("D129", "passes of exit work", SAFE, {"added": R, "removed": B, "changed": R},
         "Whether work that comes up meanwhile is seen: repeated until a look with interrupts off finds none, or done once."),
    Rule("D130", "condition of exit work", DOES, _levels(R, R, R), "When work is looked for at all, such as preemption of kernel code."),
    Rule("D131", "one-shot flag", DOES, _levels(R, R, R), "The flag is cleared before its work is done, so that a later request is not lost."),
    Rule("D132", "access to flags", DOES, _levels(R, R, R), "The hooks that read and clear flags."),
    Rule("D133", "function that stands for a hook", CODE, _levels(C, C, C), "In a kernel that exists: which function a description means."),
    Rule("D135", "system call table", SEEN, _levels(C, B, B), "The numbers that user code may call."),
    Rule("D136", "system call", SEEN, _levels(C, B, B), "The function behind a number, and how many arguments it gets."),
    Rule("D137", "registers of a system call", SEEN, _levels(B, B, B), "Where user code passes number and arguments, and finds the result."),
    Rule("D140", "C handler", DOES, _levels(R, B, B), "The C function that a path calls: frame and result."),
    Rule("D141", "step of a C handler", DOES, _levels(R, R, R), "What C does, in order."),
    Rule("D142", "condition or value in a C handler", DOES, _levels(R, R, R), "What C looks at."),
    Rule("D143", "dispatch in a C handler", DOES, _levels(R, R, R), "The values that lead to a piece of work."),
    Rule("D144", "check in a C handler", SAFE, _levels(C, B, R), "A condition that has to hold, or a hook is called."),
    Rule("D145", "interrupts in a C handler", DOES, _levels(R, R, R), "Where interrupts are let in or kept out."),
    # ---- declarations about the code ----
    Rule("D150", "declared decisions", CODE, {"added": R, "removed": C, "raised": R, "lowered": C, "changed": R},
         "How many decisions of a kind assembly may hold."),
    Rule("D151", "window", CODE, _levels(C, C, C), "Places where a state has a value, listed for profilers and debuggers."),
    Rule("D190", "spelling in generated C", LOOKS, _levels(C, C, C), "Names of parameters and constants."),
    Rule("D191", "explanation", LOOKS, _levels(C, C, C), "A reason or meaning that the author wrote."),
)
