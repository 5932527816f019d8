"""``rnnrt embed``: a model as a C file that holds it as one array, for hosts without files."""

from __future__ import annotations

import re
from pathlib import Path

from .._engine import heap_of_file
from ..errors import RnnrtError
from ..format import atomic_write, file
from ..lowered import Lowered
from ..plans import Plans
from .files import UsageError, check_destination
from .models import files_read, open_model
from .report import Report

#: Bytes in a line of the array.
LINE = 20
_TEXT = """\
/* {model} as one array, written by: rnnrt embed {source} -o {output}
 *
 *     extern const unsigned char {name}[];
 *     extern const size_t {name}_size;
 *
 *     struct rnnrt_plan *plan;
 *     enum rnnrt_status status = rnnrt_load_memory(&plan, {name}, {name}_size, &error);
 *
{ports}
 *
 * With CMake: target_sources(HOST PRIVATE {output})
 *             target_link_libraries(HOST rnnrt::rnnrt_static) */
#include <stddef.h>

extern const unsigned char {name}[];
extern const size_t {name}_size;

_Alignas(64) const unsigned char {name}[{size}] = {{
{numbers}
}};
const size_t {name}_size = sizeof {name};
"""


def embed(options):
    source = Path(options.model)
    output = options.output or str(source.with_suffix(".c"))
    check_destination(output, (options.model, *files_read(options)), ".c", options.force)
    name = options.name or re.sub(r"^(?=\d)|\W", "_", source.stem, flags=re.ASCII)
    if not re.fullmatch(r"[A-Za-z_]\w*", name, re.ASCII):
        raise UsageError("is not a name in C", where="--name", found=repr(name))
    model = open_model(options.model, options)
    content = b"".join(file.encode(model.graph, output, lower=Lowered))  # without its golden sample
    try:
        plan = Plans.of_file(content, model._run_graph).common
    except RnnrtError as error:
        raise error.at(options.model)
    stream = plan.stream_bytes() if plan.obstacle() is None else None
    loading, loaded, streaming = heap_of_file(content, plan.names)
    data = {
        "model": options.model,
        "output": output,
        "name": name,
        "bytes": len(content),
        "plan_bytes": plan.nbytes,
        "stream_bytes": stream,
        "isa": plan.isa,
        "heap_peak_loading": loading,
        "heap_loaded": loaded,
        "heap_stream": streaming if stream is not None else None,
    }
    atomic_write.write(output, [_text(options, model, name, output, content).encode()])
    lines = [
        f"{options.model} -> {output}: {name}, {len(content):,} bytes of constants",
    ]
    heap = f"heap, measured on this machine with {plan.isa}: at most {loading:,} bytes while it loads, then "
    lines.append(f"{heap}{loaded:,} bytes, of which packed weights are {plan.nbytes:,}")
    if stream is not None:
        lines += [f"a stream: {stream:,} bytes of yours and no heap, or {streaming:,} bytes of the heap"]
    return Report(data, lines)


def _text(options, model, name, output, content):
    graph = model.graph
    ports = [(f"input {n}", graph.signals[n].width) for n in graph.inputs]
    ports += [(f"output {o.name}", graph.signals[o.value].width) for o in graph.outputs]
    lines = [content[k : k + LINE] for k in range(0, len(content), LINE)]
    plain = lambda text: re.sub(r"[^ -~]|\*/", "?", str(text))  # it stands in a comment
    return _TEXT.format(
        model=plain(Path(options.model).name),
        source=plain(options.model),
        output=plain(Path(output).name),
        name=name,
        size=len(content),
        ports="\n".join(f" * {plain(what)}: {width} numbers a frame" for what, width in ports),
        numbers="\n".join("    " + "".join(f"{byte}," for byte in line) for line in lines),
    )
