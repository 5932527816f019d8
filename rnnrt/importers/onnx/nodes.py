"""What the nodes of an ONNX program read, and which of them its outputs need."""

from __future__ import annotations


def reads(node):
    """Names that a node reads, its bodies' too."""
    names = [n for n in node.inputs if n]
    for value in node.attributes.values():
        if hasattr(value, "nodes"):
            made = set(value.arrays) | {p.name for p in value.inputs}
            for inner in value.nodes:
                names += [n for n in reads(inner) if n not in made]
                made |= set(inner.outputs)
            names += [p.name for p in value.outputs if p.name not in made]
    return names


def needed(nodes, wanted):
    """The nodes that the values ``wanted`` need, in order."""
    wanted, kept = set(wanted), []
    for node in reversed(nodes):
        if any(n in wanted for n in node.outputs if n):
            kept.append(node)
            wanted |= set(reads(node))
    return kept[::-1]


def users(nodes):
    """{name: the nodes that read it, in order}"""
    found = {}
    for node in nodes:
        for name in dict.fromkeys(reads(node)):
            found.setdefault(name, []).append(node)
    return found
