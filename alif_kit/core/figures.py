"""core: the look of every plot, and a plot as SVG that is the same twice."""

from __future__ import annotations

import io
from typing import Any

INK, ACCENT, SECOND, FAINT = "#1f2933", "#0f766e", "#b45309", "#cbd5e1"


def figure(width: float, height: float, columns: int = 0) -> Any:
    """A figure of so many inches and its axes, or `columns` of them."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    matplotlib.rcParams |= {"svg.hashsalt": "alif_kit", "svg.fonttype": "none", "font.size": 10, "font.family": "sans-serif"}
    drawing, axes = pyplot.subplots(1, max(1, columns), figsize=(width, height), layout="constrained", squeeze=columns == 0)
    return drawing, (axes.ravel() if columns else axes)


def svg(drawing: Any) -> str:
    """The figure as an <svg> element; the figure is closed."""
    from markupsafe import Markup
    from matplotlib import pyplot

    buffer = io.StringIO()
    drawing.savefig(buffer, format="svg", metadata={"Date": None}, transparent=True)
    pyplot.close(drawing)
    return Markup(buffer.getvalue()[buffer.getvalue().index("<svg") :])
