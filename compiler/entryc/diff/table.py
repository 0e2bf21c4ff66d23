"""One row for each attribute of each model class: how it is compared, and under which rule. A test walks the classes and misses none.

    leaf    a value, compared by its meaning; `space`: it is a local name of that kind
    set     members without order, told apart by key
    list    members in order
    inside  one object, or none
    skip    not compared; the reason says why nothing is lost
    by      made by a function of parts.py
"""

from __future__ import annotations

from ..model import inline as L
from ..model import spec as M
from ..model import steps as S
from ..model import surroundings as W
from ..model.expr import show
from . import parts as P
from . import spelled, words
from .tree import Part, Shape
from .words import plain

SPAN = Part("skip", reason="where the text stands, not what it means")
KEY = Part("skip", reason="the key that it is told apart by")
INSIDE = Part("inside")


def _leaf(rule: str = "", title: str = "", space: str = "") -> Part:
    return Part("leaf", rule, space, title=title)


def _set(rule: str = "", each: str = "", space: str = "") -> Part:
    return Part("set", rule, space, each=each)


def _list(rule: str = "", each: str = "") -> Part:
    return Part("list", rule, each=each)


def _by(function: P.By, rule: str = "") -> Part:
    return Part("by", rule, by=function)


def _pairs(rule: str, key: str, title: str) -> Part:
    made = P.pairs(key, title)
    return Part("by", rule, by=made.by)


def _skip(reason: str) -> Part:
    return Part("skip", reason=reason)


def _step(rule: str, **parts: Part) -> Shape:
    return Shape({"span": SPAN, "guard": _by(P.step_guard, "D098"), **parts}, P.step_keys, P.step_title, rule, order="D099", shown=spelled.guarded)


def _op_step(**parts: Part) -> Shape:
    return Shape({"span": SPAN, "guard": _leaf("D098", "runs when"), **parts}, P.op_step_keys, lambda s: spelled.op_step(s).split(" = ")[0], "D026",
                 shown=lambda o, _: spelled.op_step(o))


REASON = _leaf("D191", "explanation")
USING = _leaf("D097", "scratch registers")
GUARD = _leaf("", "applies when")

TABLE: dict[type, Shape] = {
    M.Spec: Shape({
        "name": _skip("the name of the file"), "source": _skip("the text of the file"), "used": _skip("which files the text lies in"),
        "version": _skip("both sides are read for the version that is asked for"), "versions": _skip("what a side says of other versions is not read"),
        "arch": _skip("the same on both sides; two CPUs are compared by across.py"),
        "target": _leaf("D002", "target"), "license": _leaf("D003", "licence"),
        "features": _set("D004"), "configurations": _set("D005"), "constants": _set("D006", "constant"), "setup": _set("D007", "set-up value"),
        "memories": _set("D010"), "states": _set("D020"), "after_decision": _by(P.after_decision, "D024"),
        "decided_by": _leaf("D024", "registers whose decisions leave something uncertain"),
        "arrive": _set("D035", "arriving from"), "leave": _set("D036", "leaving to"), "contracts": _set("D038", "code", "contract"),
        "keeps": _by(P.keeps, "D040"), "aligns": _set("D041", "stack alignment for code", "contract"),
        "regions": _set("D016"), "boundaries": _set("D037"), "ops": _set("D027"), "inlines": _set("D026"), "symbols": _set("D028"),
        "assumes": _set("D025"), "landing": _leaf("D029", "landing instruction"), "shadow_stacks": _by(P.shadow_stacks, "D030"),
        "stacks": _set("D042"), "frames": _set("D050"), "paths": _by(P.paths), "methods": _set("D110"), "choices": _set("D113"),
        "flag_sets": _set("D120", "flags"), "hooks": _set("D121"), "brackets": _set("D122"), "works": _set("D124"), "tables": _set("D135"),
        "handlers": _set("D140"), "decisions": _set("D150"), "windows": _set("D151"),
        "spans": _skip("where the text stands, not what it means"),
    }, P.only, lambda s: ""),

    # ---- the spec as a whole, memory, state ----
    M.Feature: Shape({"name": KEY, "kind": _leaf("", "kind"), "meaning": REASON, "span": SPAN, "number": _leaf("", "number")},
                     P.named(), P.titled("feature")),
    M.Configuration: Shape({"name": KEY, "features": _leaf("", "features"), "span": SPAN}, P.named(), P.titled("configuration")),
    M.Memory: Shape({"name": KEY, "base": _leaf("D011", "base register"), "needs": _set("D012"), "members": _list("D013"), "cells": _set("D014"),
                     "counters": _set("D015"), "size": _leaf("D056", "size"), "span": SPAN}, P.named(), P.titled("memory"), place=True),
    M.Member: Shape({"name": _leaf("", "name"), "kind": _leaf("", "kind"), "offset": _leaf("", "offset"), "size": _leaf("", "size")},
                    lambda m, names: (m.name, f"{m.kind} at {m.offset}"), P.titled("member")),
    M.Cell: Shape({"name": KEY, "offset": _leaf("", "offset"), "size": _leaf("", "size"), "span": SPAN, "symbol": _leaf("", "symbol"),
                   "region": _leaf("", "region", "region"), "array": _leaf("", "reached at computed offsets"), "index": _leaf("", "index"),
                   "holds": _leaf("", "what it holds"), "guard": GUARD}, P.named(), P.titled("word")),
    M.Counters: Shape({"name": KEY, "offset": _leaf("", "offset"), "choice": _leaf("", "choice"), "of": _leaf("", "what is counted"), "span": SPAN},
                      P.named(), P.titled("counters")),
    M.State: Shape({"name": KEY, "values": _by(P.state_values, "D021"), "transitions": _set("D023"), "guard": GUARD, "span": SPAN},
                   P.named("state"), P.titled("state"), place=True,
                   local=lambda s: {"state": s.name}),
    M.Transition: Shape({"before": KEY, "after": KEY, "form": _leaf("", "instruction"), "span": SPAN,
                         "operand": _leaf("", "word that it reads"), "inline": _leaf("", "op", "inline")},
                        P.transition_keys, lambda t: f"{t.before} -> {t.after}", shown=lambda o, _: spelled.transition(o)),
    W.Meaning: Shape({"place": _leaf("", "bits"), "value": _leaf("", "value"), "guard": GUARD},
                     P.meaning_keys, lambda m: str(m.register), shown=lambda o, _: spelled.meaning(o)),
    W.StateNeed: Shape({"subject": _leaf("", "state", "state"), "value": _by(P.value_of_subject), "guard": GUARD, "span": SPAN,
                        "but": _leaf("", "registers left out")}, P.need_keys, lambda n: str(n.subject), shown=lambda o, _: spelled.need(o)),
    W.Region: Shape({"name": KEY, "needs": _set(), "loads": INSIDE, "span": SPAN}, P.named("region"), P.titled("region")),
    W.Assume: Shape({"condition": _leaf("", "condition"), "reason": REASON, "guard": GUARD, "span": SPAN},
                    lambda a, names: (plain(a.condition, names), a.reason), lambda a: f"assume {show(a.condition)}"),
    W.SymbolAt: Shape({"name": KEY, "kind": _leaf("", "kind"), "inside": _leaf("", "function"), "span": SPAN}, P.named(), P.titled("symbol")),
    W.Boundary: Shape({"name": KEY, "origin": _leaf("", "origin"), "numbers": _leaf("", "vectors"), "condition": _leaf("", "test"),
                       "arrive": _set("D035"), "leave": _set("D036"), "region": _leaf("", "region of the stack", "region"),
                       "guard": GUARD, "span": SPAN, "kind": _leaf("", "kind of its decision")}, P.named("boundary"), P.titled("boundary"), place=True),
    W.Op: Shape({"name": KEY, "symbol": _leaf("", "symbol"), "needs": _set("D039", "need"), "clobbers": _leaf("", "registers that it overwrites"),
                 "sets": _set(), "writes": _leaf("", "slots that it writes"), "returns": _leaf("", "returns"), "promises": _by(P.promises),
                 "when": _leaf("", "runs when"), "guard": GUARD, "span": SPAN}, P.named("op"), P.titled("called code")),
    L.Inline: Shape({"name": KEY, "keeping": _skip("a local name: that there is one shows in the steps"), "using": _leaf("D097", "scratch registers"),
                     "steps": _list(), "guard": GUARD, "span": SPAN}, P.named("inline"), P.titled("op"), local=P.op_locals, place=True),
    L.OpSet: _op_step(place=_leaf("", "place"), value=_leaf()),
    L.OpInsn: _op_step(form=_leaf("", "instruction"), arguments=_leaf("", "operands")),
    L.OpDecide: _op_step(kind=_leaf("", "kind of decision"), condition=_leaf("", "test"), steps=_list()),

    # ---- stacks and frames ----
    M.Stack: Shape({"name": KEY, "top": _leaf("", "word with its top"), "entered": _leaf("", "hardware stack"), "size": _leaf("D043", "size"), "span": SPAN,
                    "also": _leaf("", "further hardware stacks"), "region": _leaf("", "region", "region"), "bottom": _leaf("", "word with its lowest address"),
                    "alias": _leaf("", "second view", "region"), "preset": _leaf("", "word above its top that the kernel writes"), "guard": GUARD},
                   P.named("stack"), P.titled("stack")),
    M.Slot: Shape({"name": _leaf("", "name"), "offset": _leaf("", "offset"), "home": _leaf("D052", "register"), "source": _leaf("D053", "source"),
                   "other": _leaf("D053", "value without a source"), "hardware": _leaf("D054", "pushed by the CPU"), "span": SPAN},
                  P.slot_keys, P.titled("slot")),
    M.Frame: Shape({"name": KEY, "c_name": _leaf("D055", "C struct"), "slots": _set("D051"), "size": _leaf("D056", "size"), "span": SPAN},
                   P.named(), P.titled("frame"), place=True),

    # ---- paths and their steps ----
    M.Path: Shape({"name": _by(P.public_name, "D066"), "kind": KEY, "steps": _by(P.steps), "guard": _leaf("D064", "exists when"), "span": SPAN,
                   "event": KEY, "numbers": _skip("an entry point takes one vector, which is its key"), "origin": _leaf("D065", "origin"),
                   "frame": _leaf("D074", "frame"), "user_may_raise": _leaf("D061", "raised by user code"), "loses": _leaf("D071", "registers that are lost"),
                   "given": _leaf("D072", "what C promises"), "reason": REASON, "stack": _leaf("D062", "stack of the gate", "stack"),
                   "paranoid": _leaf("D063", "paranoid"), "placed": _leaf("D067", "place"), "arguments": _leaf("D069", "arguments"),
                   "changes": _leaf("D073", "registers of user mode that change"), "resumed": _leaf("D069", "frame whose return leads here"),
                   "called": _leaf("D070", "called, not gone to")},
                  P.path_keys, spelled.path, lambda p: P.PATH_RULES[p.kind], place=True),
    S.SetState: _step("D080", subject=KEY, value=_by(P.value_of_subject), using=USING, keeping=_leaf("D097", "register that keeps the old value"),
                      op=_leaf("D026", "op", "inline")),
    S.SwitchStack: _step("D081", stack=_leaf("", "", "stack")),
    S.Set: _step("D082", place=_leaf("", "place"), value=_leaf(), using=USING),
    S.Save: _step("D083", frame=_leaf("", "frame"), slots=_leaf("", "slots"), using=USING, values=_pairs("D084", "values", "slot"),
                  takes=_leaf("", "slots that take another register on purpose"), within=_pairs("D084", "within", "bits of slot")),
    S.Clear: _step("D085", registers=_leaf("", "registers"), but=_leaf("", "registers left out")),
    S.Restore: _step("D086", frame=_leaf("", "frame"), slots=_leaf("", "registers"), but=_leaf("", "registers left out")),
    S.Label: _step("D087", name=_leaf("", "name"), own=_leaf("", "the symbol itself")),
    S.Call: _step("D088", callee=_leaf("", "function", "handler"), arguments=_leaf("", "arguments"), contract=_leaf("D039", "contract", "contract"),
                  binds=_leaf("D091", "what the result decides"), move=INSIDE, setting=_leaf("", "slot that is set")),
    W.Move: Shape({"frame": _leaf("", "frame that moves"), "stack": _leaf("D081", "stack that the frame goes to", "stack"),
                   "but": _leaf("", "slots that are found elsewhere"), "at": _leaf("", "where they are found")}, P.only, lambda m: ""),
    S.Jump: _step("D089", callee=_leaf("", "function", "handler"), arguments=_leaf("", "arguments"), contract=_leaf("D039", "contract", "contract")),
    S.Goto: _step("D090", path=_leaf("", "path", "path")),
    S.ExitTo: _step("D091", targets=_leaf("", "exits", "path"), by_method=_leaf("", "decided by C"), by_origin=_leaf("", "decided by the origin"),
                    given=_leaf("D072", "what C promises"), reason=REASON),
    S.Origin: _step("D092", user=_by(P.user_arm), kernel=_by(P.kernel_arm), others=_by(P.others), using=_by(P.tests, "D097")),
    S.Do: _step("D093", op=_leaf("", "", "op")),
    S.Through: _step("D090", path=_leaf("", "path", "path")),
    S.Assert: _step("D094", condition=_leaf("", "condition")),
    S.Room: _step("D095", size=_leaf("", "bytes")),
    S.Drop: _step("D095", frame=_leaf("", "frame"), slot=_leaf("", "slot")),
    S.Reframe: _step("D095", frame=_leaf("", "frame")),
    S.Adopt: _step("D095", frame=_leaf("", "frame"), at=_leaf("", "address")),
    S.ReturnStep: _step("D096", name=_leaf("", "instruction")),
    S.Unsupported: _step("D100"),

    # ---- return methods ----
    M.Clause: Shape({"condition": _leaf(), "name": _leaf("D112", "refusal"), "reason": REASON, "span": SPAN},
                    lambda c, names: (plain(c.condition, names), c.name), lambda c: f"clause {c.name}", "D111", shown=lambda o, _: spelled.clause(o)),
    M.Method: Shape({"name": KEY, "exit": _leaf("", "exit path", "path"), "clauses": _list("D111"), "span": SPAN}, P.named(), P.titled("method"), place=True),
    M.Choice: Shape({"name": KEY, "methods": _list("D114", "method"), "span": SPAN, "by_address": _leaf("", "gives an address"),
                     "bits": _leaf("D115", "bits that C gives it in"), "by_refusal": _leaf("D115", "gives 0 for the first")}, P.named(),
                    P.titled("choice"), place=True),

    # ---- C ----
    M.Hook: Shape({"name": KEY, "result": _leaf("", "result"), "params": _by(P.params), "meaning": REASON, "span": SPAN,
                   "symbols": _leaf("D133", "function that stands for it")}, P.named(), P.titled("hook")),
    M.CallText: Shape({"name": _leaf("", "function"), "arguments": _leaf("", "arguments"), "span": SPAN},
                      lambda c, names: (c.name,), lambda c: "", shown=lambda o, _: words.call(o)),
    M.Bracket: Shape({"name": KEY, "enter": Part("list", "D123", title="entering"),
                      "leave": Part("list", "D123", title="leaving"), "span": SPAN}, P.named("bracket"),
                     P.titled("bracket"), place=True),
    M.WorkRow: Shape({"flags": _set("D127", "flag"), "call": INSIDE, "clears_first": _leaf("D131", "flag is cleared first"), "span": SPAN,
                      "alone": _leaf("D126", "only work of its pass"), "irqs_on": _by(P.own_irqs, "D128")},
                     lambda r, names: (r.call.name,), lambda r: f"work {r.call.name}", "D125", order="D126", shown=lambda o, _: spelled.work_row(o)),
    M.Work: Shape({"name": KEY, "flags": _leaf("D132", "flag set"), "read": Part("inside", "D132", title="look at the flags"),
                   "clear": _leaf("D132", "hook that clears flags"),
                   "condition": _leaf("D130", "condition"), "repeat": _leaf("D129", "repeated until nothing is left"),
                   "irqs_on": _leaf("D128", "interrupts on"), "rows": _list("D125"), "span": SPAN}, P.named("work"), P.titled("exit work"), place=True),
    M.Syscall: Shape({"number": KEY, "name": _leaf("", "function"), "count": _leaf("", "arguments"), "span": SPAN},
                     lambda s, names: (str(s.number),), lambda s: f"system call {s.number}", shown=lambda s, _: f"{s.number} {s.name}({s.count})"),
    M.SyscallTable: Shape({"name": KEY, "number": _leaf("D137", "where the number is"), "args": _list("D137", "argument"),
                           "result": _leaf("D137", "where the result goes"),
                           "missing": _leaf("D137", "result of a number without a function"), "rows": _set("D136"), "span": SPAN}, P.named("table"),
                          P.titled("system call table"), place=True),
    M.CStep: Shape({"verb": KEY, "span": SPAN, "subject": _by(P.c_subject), "call": INSIDE, "place": _leaf("D142", "place"), "value": _leaf("D142", "value"),
                    "user": Part("list", title="from user"), "kernel": Part("list", title="from kernel"), "arms": _by(P.arms, "D143"),
                    "names": _leaf("D190", "constants in the text")},
                   P.c_keys, P.c_title, lambda s: P.C_RULES.get(s.verb, "D141"), order="D141", shown=lambda o, _: spelled.c_step(o)),
    M.Handler: Shape({"name": _leaf("D066", "symbol", "handler"), "frame": _leaf("", "frame"), "choice": _leaf("", "choice"),
                      "steps": _list("D141"), "span": SPAN},
                     P.named("handler"), P.titled("handler"), local=P.handler_locals, place=True),
    M.Decision: Shape({"kind": KEY, "most": _leaf("", "at most"), "reason": REASON, "span": SPAN}, lambda d, names: (d.kind,), lambda d: f"decisions {d.kind}"),
    M.Window: Shape({"name": KEY, "subject": _leaf("", "state", "state"), "value": _by(P.window_value), "span": SPAN}, P.named("window"), P.titled("window")),
}
