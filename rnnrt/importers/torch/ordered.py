"""Rows that forward puts in the order of their lengths and back again, as packing asked for once: the rows as
they are answer the same, for no layer looks at two of them."""

from __future__ import annotations

import operator

import torch
import torch.fx

_NUMBER, _SAME, _ORDER, _BACK, _ROWS = "number", "same", "order", "back", "rows"
#: methods behind which an order still is one
_PASSING = ("cpu", "to", "long", "cuda", "detach", "contiguous", "clone")
_SIZES = ("size", "dim", "numel", "__len__")


def in_order(x, axis):
    """Marks rows that were put in another order along ``axis``, which is the batch."""
    return x


class _Mixed(Exception):
    """Rows in an order meet others, or leave the program in it."""


def unsorted(graph):
    """Takes sorting by lengths out of a graph of torch.fx, where all that was sorted is put back."""
    told, moved, sorts = {}, [], []
    try:
        for node in graph.nodes:
            told[node] = _told(node, told, moved, sorts)
    except _Mixed:
        return
    if not any(kind is _BACK for _, _, kind in moved):
        return
    for node, axis, _ in moved:
        with graph.inserting_before(node):
            made = graph.call_function(in_order, (node.args[0], axis))
            made.stack_trace = node.stack_trace
        node.replace_all_uses_with(made)
        graph.erase_node(node)
    for node in sorts:
        for part in list(node.users):
            if part.target is operator.getitem and part.args[1] == 0:
                part.replace_all_uses_with(node.args[0])
    for node in reversed(list(graph.nodes)):
        word = _word(node)
        if word == "pack_padded_sequence":
            node.kwargs = dict(node.kwargs) | {"enforce_sorted": False}
            node.args = node.args[:3]
        kind = told.get(node, (None,))[0]
        if not node.users and (isinstance(kind, tuple) or kind in (_ORDER, _BACK, _ROWS)):
            graph.erase_node(node)


def _word(node):
    return node.target if node.op == "call_method" else getattr(node.target, "__name__", "")


def _told(node, told, moved, sorts):
    """(what a node is, the sort it hangs on)."""
    known = [told[n] for n in node.all_input_nodes]
    word = _word(node) if node.op in ("call_method", "call_function") else ""
    first = told[node.args[0]] if node.args and isinstance(node.args[0], torch.fx.Node) else None
    if word in ("sort", "argsort"):
        kind, root = first
        if kind is _ORDER:
            if _option(node, "descending", 2):
                raise _Mixed
            return (_BACK, root) if word == "argsort" else ((_BACK, "sort"), root)
        if kind is not _SAME:
            raise _Mixed
        sorts += [node] if word == "sort" else []
        return (_ORDER, node) if word == "argsort" else ((_ORDER, "sort"), node)
    if word == "getitem" and first and isinstance(first[0], tuple):  # a part of what sort gives
        if node.args[1] == 1:
            return first[0][0], first[1]
        if node.args[1] != 0 or first[0][0] is _BACK and node.users:
            raise _Mixed
        return _ROWS, first[1]
    index, axis = _index(node, word, told)
    if index is not None:
        (kind, root), (own, of) = told[index], first
        if (kind, own) not in ((_ORDER, _SAME), (_BACK, _ROWS)) or own is _ROWS and of is not root:
            raise _Mixed
        moved.append((node, axis, kind))
        return (_ROWS, root) if kind is _ORDER else (_SAME, None)
    orders = [k for k in known if k[0] not in (_NUMBER, _SAME, _ROWS)]
    if orders:
        if word in _PASSING and len(known) == 1 and not isinstance(orders[0][0], tuple):
            return orders[0]
        raise _Mixed
    if node.op == "get_attr" or word in _SIZES or word == "getattr" and node.args[1] == "shape":
        return _NUMBER, None
    rows = {root for kind, root in known if kind is _ROWS}
    if node.op == "output" and rows or len(rows) > 1 or rows and any(kind is _SAME for kind, _ in known):
        raise _Mixed
    if rows:
        return _ROWS, rows.pop()
    return (_NUMBER if known and all(k[0] is _NUMBER for k in known) else _SAME), None


def _option(node, name, place):
    return node.kwargs.get(name, node.args[place] if len(node.args) > place else False)


def _index(node, word, told):
    """(the order that a call takes rows by, along which axis), (None, None) of another."""
    is_order = lambda n: isinstance(n, torch.fx.Node) and told[n][0] in (_ORDER, _BACK)
    if word == "index_select":
        axis, index = _option(node, "dim", 1), _option(node, "index", 2)
        return (index, axis) if is_order(index) and type(axis) is int else (None, None)
    if word != "getitem":
        return None, None
    index = node.args[1] if isinstance(node.args[1], tuple) else (node.args[1],)
    places = [k for k, n in enumerate(index) if is_order(n)]
    whole = all(isinstance(n, slice) and n == slice(None) for k, n in enumerate(index) if k not in places)
    return (index[places[0]], places[0]) if len(places) == 1 and whole else (None, None)
