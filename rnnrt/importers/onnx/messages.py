"""What an ONNX file is made of, as its schema (onnx.proto, ir_version up to 14) numbers it. Of what is not
read, the fields named here change no answer.
"""

from __future__ import annotations

from ..containers.protobuf import Field


def _table(**fields):
    """{number: Field} of name="number kind", "number kind*" for many, "number" for one that is not read."""
    made = {}
    for name, text in fields.items():
        number, _, kind = text.partition(" ")
        made[int(number)] = Field(name, kind.rstrip("*") or None, kind.endswith("*"))
    return made


MESSAGES = {
    "Model": _table(
        ir_version="1 int",
        producer_name="2 text",
        producer_version="3 text",
        domain="4",
        model_version="5",
        doc_string="6",
        graph="7 Graph",
        opsets="8 Opset*",
        metadata="14 Entry*",
        training="20",
        functions="25 Function*",
        configuration="26",
    ),
    "Opset": _table(domain="1 text", version="2 int"),
    "Entry": _table(key="1 text", value="2 text"),
    "Function": _table(name="1 text", domain="10 text"),
    "Graph": _table(
        nodes="1 Node*",
        name="2 text",
        initializers="5 Tensor*",
        doc_string="10",
        inputs="11 ValueInfo*",
        outputs="12 ValueInfo*",
        value_info="13",
        quantization="14",
        sparse="15 bytes*",
        metadata="16",
    ),
    "Node": _table(
        inputs="1 text*",
        outputs="2 text*",
        name="3 text",
        op="4 text",
        attributes="5 Attribute*",
        doc_string="6",
        domain="7 text",
        overload="8 text",
        metadata="9",
        configuration="10",
    ),
    "Attribute": _table(
        name="1 text",
        f="2 float",
        i="3 int",
        s="4 bytes",
        t="5 Tensor",
        g="6 Graph",
        floats="7 float*",
        ints="8 int*",
        strings="9 bytes*",
        tensors="10 Tensor*",
        graphs="11 Graph*",
        doc_string="13",
        tp="14 bytes",
        type_protos="15 bytes*",
        type="20 int",
        reference="21 text",
        sparse="22 bytes",
        sparses="23 bytes*",
    ),
    "Tensor": _table(
        dims="1 int*",
        type="2 int",
        segment="3 bytes",
        floats="4 float*",
        int32s="5 int*",
        strings="6 bytes*",
        int64s="7 int*",
        name="8 text",
        raw="9 bytes",
        doubles="10 double*",
        uint64s="11 int*",
        doc_string="12",
        external="13 Entry*",
        location="14 int",
        metadata="16",
    ),
    "ValueInfo": _table(name="1 text", type="2 Type", doc_string="3", metadata="4"),
    "Type": _table(
        tensor="1 TensorType", sequence="4", map="5", denotation="6", opaque="7", sparse="8", optional="9"
    ),
    "TensorType": _table(type="1 int", shape="2 Shape"),
    "Shape": _table(dims="1 Dim*"),
    "Dim": _table(value="1 int", name="2 text", denotation="3"),
}
