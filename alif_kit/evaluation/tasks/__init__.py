"""evaluation: tasks of lm-evaluation-harness. They run without the kit: `lm_eval --include_path FOLDER --tasks urdu_mmlu`."""
