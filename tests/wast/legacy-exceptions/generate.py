"""Random functions with exceptions in their first form, and what they come to by a model that is nothing but Python's own
exceptions. Prints a script:

    python3 generate.py SEED FUNCTIONS > random.wast

A function is a list of statements; a label is known by how far out it is, as in WebAssembly. What a function does is
told by a hash of what it logged, payloads of handlers among it.
"""

import random
import sys

INPUTS = [0, 5, 15, 10]
MASK = 0xFFFF_FFFF


class Label:
    """A construct while it runs; `caught` is what its handler caught."""

    def __init__(self):
        self.caught = None


class Branch(Exception):
    def __init__(self, label):
        self.label = label


class Thrown(Exception):
    def __init__(self, tag, value):
        self.tag, self.value = tag, value


class Delegated(Exception):
    """On its way to a label, past all handlers."""

    def __init__(self, thrown, label):
        self.thrown, self.label = thrown, label


def generate(r, labels, budget):
    """Statements inside constructs of these kinds, the innermost last."""
    statements = []
    for _ in range(r.randint(1, 4)):
        if budget[0] <= 0:
            break
        budget[0] -= 1
        kind = r.random() * (0.45 if len(labels) > 6 else 1)

        def inner(construct):
            return generate(r, labels + [construct], budget)

        if kind < 0.2:
            statements.append(("log", r.randint(1, 99)))
        elif kind < 0.27:
            statements.append(("throw", r.randint(0, 1), r.randint(1, 99)))
        elif kind < 0.34:
            statements.append(("call", r.randint(0, 1), r.randint(1, 99)))
        elif kind < 0.38:
            statements.append(("br", r.randrange(len(labels))))
        elif kind < 0.45:
            handlers = [d for d, construct in enumerate(reversed(labels)) if construct == "catch"]
            if handlers:
                statements.append(("rethrow", r.choice(handlers)))
        elif kind < 0.55:
            statements.append(("block", inner("block")))
        elif kind < 0.66:
            statements.append(("if", r.randint(0, 3), inner("block")))
        elif kind < 0.8:
            statements.append(("delegate", inner("try"), r.randrange(len(labels))))
        else:
            body = inner("try")
            clauses = [(r.randint(0, 1), inner("catch")) for _ in range(r.randint(0, 2))]
            if r.random() < 0.4:
                clauses.append(("all", inner("catch")))
            statements.append(("try", body, clauses))
    return statements


def inside(label, statements, labels, state):
    """Runs what is inside a construct; what is delegated to it is thrown there."""
    try:
        run(statements, labels + [label], state)
    except Delegated as d:
        if d.label is not label:
            raise
        raise Thrown(d.thrown.tag, d.thrown.value) from None


def run(statements, labels, state):
    for kind, *rest in statements:
        label = Label()
        try:
            if kind == "log":
                log(state, rest[0])
            elif kind in ("throw", "call"):
                raise Thrown(*rest)
            elif kind == "br":
                raise Branch(labels[-1 - rest[0]])
            elif kind == "rethrow":
                caught = labels[-1 - rest[0]].caught
                raise Thrown(caught.tag, caught.value)
            elif kind == "block":
                inside(label, rest[0], labels, state)
            elif kind == "if":
                if state["input"] >> rest[0] & 1:
                    inside(label, rest[1], labels, state)
            elif kind == "delegate":
                try:
                    inside(label, rest[0], labels, state)
                except Thrown as thrown:
                    raise Delegated(thrown, labels[-1 - rest[1]]) from None
            else:
                body, clauses = rest
                try:
                    inside(label, body, labels, state)
                except Thrown as thrown:
                    handler = next((h for tag, h in clauses if tag in ("all", thrown.tag)), None)
                    if handler is None:
                        raise
                    tag = next(tag for tag, h in clauses if h is handler)
                    label.caught = thrown
                    if tag == 0:
                        log(state, thrown.value)
                    inside(label, handler, labels, state)
        except Branch as branch:
            if branch.label is not label:
                raise


def log(state, value):
    state["hash"] = (state["hash"] * 31 + value) & MASK


def outcome(statements, given):
    """The hash, or None if an exception leaves the function."""
    state, label = {"hash": 1, "input": given}, Label()
    try:
        inside(label, statements, [], state)
    except Branch:
        pass
    except Thrown:
        return None
    return state["hash"]


def emit(statements, lines, indent):
    def line(text):
        lines.append("  " * indent + text)

    for kind, *rest in statements:
        if kind == "log":
            line(f"i32.const {rest[0]} call $log")
        elif kind == "throw":
            line("throw $b" if rest[0] else f"i32.const {rest[1]} throw $a")
        elif kind == "call":
            line(f"i32.const {rest[0]} i32.const {rest[1]} call $throw")
        elif kind in ("br", "rethrow"):
            line(f"{kind} {rest[0]}")
        elif kind == "block":
            line("block")
            emit(rest[0], lines, indent + 1)
            line("end")
        elif kind == "if":
            line(f"local.get 0 i32.const {1 << rest[0]} i32.and if")
            emit(rest[1], lines, indent + 1)
            line("end")
        else:
            line("try")
            emit(rest[0], lines, indent + 1)
            if kind == "delegate":
                line(f"delegate {rest[1]}")
                continue
            for tag, handler in rest[1]:
                line({0: "catch $a call $log", 1: "catch $b", "all": "catch_all"}[tag])
                emit(handler, lines, indent + 1)
            line("end")


def script(seed, count):
    r = random.Random(seed)
    lines = [
        f";; Made by generate.py {seed} {count}: random functions, and what its model says that they come to.",
        "(module",
        "  (tag $a (param i32)) (tag $b)",
        "  (global $h (mut i32) (i32.const 1))",
        "  (func $log (param i32) (global.set $h (i32.add (i32.mul (global.get $h) (i32.const 31)) (local.get 0))))",
        "  (func $throw (param i32 i32) (if (local.get 0) (then (throw $b))) (throw $a (local.get 1)))",
    ]
    assertions = []
    number = 0
    while number < count:
        statements = generate(r, ["function"], [r.randint(8, 30)])
        if "delegate" not in str(statements) and "rethrow" not in str(statements):
            continue
        lines.append(f"  (func $f{number} (param i32)")
        emit(statements, lines, 2)
        lines[-1] += ")"
        lines.append(f'  (func (export "f{number}") (param i32) (result i32)')
        lines.append(f"    (global.set $h (i32.const 1)) (call $f{number} (local.get 0)) (global.get $h))")
        for given in INPUTS:
            invoke = f'(invoke "f{number}" (i32.const {given}))'
            result = outcome(statements, given)
            assertions.append(f"(assert_exception {invoke})" if result is None else f"(assert_return {invoke} (i32.const {result}))")
        number += 1
    lines[-1] += ")"
    return "\n".join(lines + assertions) + "\n"


if __name__ == "__main__":
    print(script(int(sys.argv[1]), int(sys.argv[2])), end="")
