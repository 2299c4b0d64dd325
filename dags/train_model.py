"""Train a challenger and let it through the gate, or not.

By hand (the form, REST, `airflow dags trigger`), every week for all lines, and for lines whose
night has drifted. What is refused stays registered; the champion goes on serving.
"""

from datetime import UTC, datetime, timedelta

from airflow.sdk import AssetOrTimeSchedule, CronTriggerTimetable, Param, dag, get_current_context, task

from cae_pipeline.orchestration import RETRAINING_WANTED, TASK_DEFAULTS, run_cae

LATE = timedelta(hours=6)

EFFORT = "How much time the training may take; empty: as the line's settings say"


@dag(
    schedule=AssetOrTimeSchedule(
        timetable=CronTriggerTimetable("0 4 * * 0", timezone="UTC"), assets=[RETRAINING_WANTED]
    ),
    catchup=False,
    max_active_runs=1,
    default_args=TASK_DEFAULTS,
    params={
        "line": Param(None, type=["null", "string"], description="A line of lines.toml; empty: all of them"),
        "mode": Param("full", enum=["full", "refresh"], description="refresh starts from the champion's weights"),
        "epochs": Param(None, type=["null", "integer"], minimum=1, description="Empty: as the line's settings say"),
        "seed": Param(None, type=["null", "integer"], minimum=0, description="Empty: as the line's settings say"),
        "effort": Param(None, type=["null", "string"], enum=[None, "quick", "normal", "thorough"], description=EFFORT),
        "note": Param(None, type=["null", "string"], format="multiline", description="What MLflow should remember"),
    },
    tags=["cae"],
    doc_md=__doc__,
)
def train_model():
    @task
    def choose_lines(params=None, dag_run=None, triggering_asset_events=None):
        if dag_run.run_type == "scheduled" and datetime.now(UTC) - dag_run.run_after > LATE:
            return []  # unpausing a DAG makes up for its last tick; nobody waits for that training
        if params["line"]:
            return [params["line"]]
        asked = {event.extra["line"] for event in triggering_asset_events[RETRAINING_WANTED]}
        return sorted(asked) or run_cae("lines", "names")["lines"]

    # one after the other: each training takes all cores
    @task(map_index_template="{{ label }}", max_active_tis_per_dagrun=1)
    def train(line, params=None):
        get_current_context()["label"] = line
        said = [f"--{name}={params[name]}" for name in ("epochs", "seed", "effort") if params[name] is not None]
        refresh = ["--refresh"] if params["mode"] == "refresh" else []
        done = run_cae("train", line, "--no-promote", f"--note={params['note'] or ''}", *said, *refresh)
        return {"line": line, "model_version": done["model_version"]}

    @task(map_index_template="{{ label }}")
    def promote(challenger):
        get_current_context()["label"] = challenger["model_version"]
        return run_cae("promote", challenger["line"], challenger["model_version"])

    promote.expand(challenger=train.expand(line=choose_lines()))


train_model()
