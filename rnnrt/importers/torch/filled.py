"""Tensors that forward fills item by item, ``out[:, t] = y``: a program of torch.export copies into views of
a new tensor. Where every item of one axis is written once, the tensor is the stack of what was written."""

from __future__ import annotations

import torch
import torch.fx

_NEW = ("zeros", "empty", "new_zeros", "new_empty", "zeros_like", "empty_like", "zero_", "ones", "full")


def word_of(node):
    """The name of an operator of aten, else None."""
    return getattr(node.target, "_opname", None) if node.op == "call_function" else None


def stacked(graph):
    """Writes stacks in the place of tensors that are filled so, in a graph of torch.export."""
    order = {node: place for place, node in enumerate(graph.nodes)}
    filled = {}
    for node in graph.nodes:
        if word_of(node) == "copy_" and (found := _item(node.args[0])) is not None:
            root, axis, item = found
            filled.setdefault(root, []).append((axis, item, node))
    for root, writes in filled.items():
        _stack(graph, root, writes, order)


def _item(view):
    """(tensor, axis, number) of a view that is one item of a new tensor, None of another."""
    axis = item = None
    while view.op == "call_function" and word_of(view) in ("select", "slice"):
        if word_of(view) == "select":
            if axis is not None or not all(isinstance(n, int) for n in view.args[1:3]):
                return None
            axis, item = view.args[1], view.args[2]
        elif view.args[2:3] not in ((), (0,), (None,)) or view.args[3:4] not in ((), (None,), (_END,)):
            return None
        view = view.args[0]
    if axis is None or word_of(view) not in _NEW:
        return None
    sizes = view.meta["val"].shape
    return view, axis % len(sizes), item if item >= 0 else item + sizes[axis]


_END = (1 << 63) - 1


def _stack(graph, root, writes, order):
    """One stack of what was written, where this is all of a new tensor before it is read."""
    axes = {axis for axis, _, _ in writes}
    items = [item for _, item, _ in writes]
    sizes = tuple(root.meta["val"].shape)
    if (
        len(axes) != 1
        or sorted(items) != list(range(len(items)))
        or sizes[(axis := axes.pop())] != len(items)
    ):
        return
    values = {item: node.args[1] for _, item, node in writes}
    whole = sizes[:axis] + sizes[axis + 1 :]
    if any(tuple(v.meta["val"].shape) != whole for v in values.values()):
        return
    last = max((node for _, _, node in writes), key=order.__getitem__)
    views = {root}
    for node in graph.nodes:  # the views that are written through
        if any(n in views for n in node.all_input_nodes):
            if order[node] > order[last]:
                continue
            if word_of(node) == "copy_" and node.args[0] in views and not node.users:
                continue
            if word_of(node) not in ("select", "slice") or any(n not in views for n in node.all_input_nodes):
                return
            views.add(node)
    with graph.inserting_after(last):
        made = graph.call_function(
            torch.ops.aten.stack.default, ([values[k] for k in range(len(items))], axis)
        )
    made.meta["val"], made.stack_trace = root.meta["val"], last.stack_trace
    for _, _, node in writes:
        graph.erase_node(node)
    for user in list(root.users):
        if order.get(user, 0) > order[last]:
            user.replace_input_with(root, made)
    for node in reversed(list(graph.nodes)):
        if node in views and not node.users:
            graph.erase_node(node)
