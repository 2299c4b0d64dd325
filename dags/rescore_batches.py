"""Judge old batches again, with a given model version or with the champion of a date.

Scores of other model versions stay: rows are keyed by batch, image and model version.
"""

from airflow.sdk import Param, dag, get_current_context, task

from cae_pipeline.orchestration.tasks import TASK_DEFAULTS, run_cae


@dag(
    schedule=None,
    max_active_runs=1,
    default_args=TASK_DEFAULTS,
    params={
        "line": Param(type="string", minLength=1, description="A line of lines.toml"),
        "since": Param(type="string", format="date", description="First night"),
        "until": Param(type="string", format="date", description="Last night"),
        "model_version": Param(None, type=["null", "string"], description="Such as cae-cells/2; empty: the champion"),
        "champion_as_of": Param(None, type=["null", "string"], format="date", description="… or of this date"),
    },
    tags=["cae"],
    doc_md=__doc__,
)
def rescore_batches():
    @task
    def plan_chunks(params=None):
        judge = [
            f"--{name.replace('_', '-')}={params[name]}" for name in ("model_version", "champion_as_of") if params[name]
        ]
        nights = [f"--since={params['since']}", f"--until={params['until']}"]
        return run_cae("rescore", params["line"], *nights, *judge, "--plan")["chunks"]

    @task(map_index_template="{{ label }}")
    def score(chunk):
        get_current_context()["label"] = f"{chunk['line']}: {len(chunk['slices'])} slices"
        slices = [f"--slice={text}" for text in chunk["slices"]]
        return run_cae("score", chunk["line"], "--again", "--model-version", chunk["model_version"], *slices)

    score.expand(chunk=plan_chunks())


rescore_batches()
