"""report: what the report shows of a release: the check of the merge, the GGUF files as read back, the quantisation study.

In: release/ of a run. Out: values for the template; None or empty before the step has been done.
"""

from __future__ import annotations

from typing import Any

from alif_kit.core.run import Run, latest_json
from alif_kit.quantisation import study as quant_study


def released(run: Run) -> dict[str, Any]:
    """`merge`, `gguf` and `study` of a run."""
    merged, study = run.file("release", "merged", "merge.json"), run.file("release", "quant_study", "results.json")
    return {
        "merge": latest_json(merged) if merged.is_file() else None,
        "gguf": [_file(path) for path in sorted(run.file("release", "gguf").glob("*.gguf"))],
        "study": _study(run, latest_json(study)) if study.is_file() else None,
    }


def _file(path: Any) -> dict[str, Any]:
    about = path.with_suffix(".json")
    return {"name": path.name, "bytes": path.stat().st_size, "about": latest_json(about) if about.is_file() else None}


def _study(run: Run, results: dict[str, Any]) -> dict[str, Any]:
    header, rows = quant_study.table(results, run.config.language)
    drawn = quant_study.plot(results["forms"], run.config.language)
    return {"header": header, "rows": rows, "svg": drawn, "advice": results["advice"], "missing": results["missing"]}
