"""report: what the report shows of a release: the check of the merge, the GGUF files as read back, the quantisation study.

In: release/ of a run. Out: values for the template; None or empty before the step has been done.
"""

from __future__ import annotations

from typing import Any

from alif_kit.core.run import Run
from alif_kit.quantisation import study as quant_study
from alif_kit.report.evaluation import json_at


def released(run: Run) -> dict[str, Any]:
    """`merge`, `gguf` and `study` of a run."""
    study = json_at(run.file("release", "quant_study", "results.json"))
    files = sorted(run.file("release", "gguf").glob("*.gguf"))
    return {
        "merge": json_at(run.file("release", "merged", "merge.json")),
        "gguf": [{"name": f.name, "bytes": f.stat().st_size, "about": json_at(f.with_suffix(".json"))} for f in files],
        "study": _study(run, study) if study else None,
    }


def _study(run: Run, results: dict[str, Any]) -> dict[str, Any]:
    header, rows = quant_study.table(results, run.config.language)
    drawn = quant_study.plot(results["forms"], run.config.language)
    return {"header": header, "rows": rows, "svg": drawn, "advice": results["advice"], "missing": results["missing"]}
