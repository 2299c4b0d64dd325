"""Train a challenger and let it through the gate, or not.

By hand (form, REST, CLI), every week, and where drift or verdicts ask for it; a person approves where a line wants it.
"""

from datetime import UTC, datetime, timedelta

from airflow.providers.standard.operators.hitl import ApprovalOperator
from airflow.sdk import AssetOrTimeSchedule, CronTriggerTimetable, Param, dag, get_current_context, task, task_group
from airflow.sdk.exceptions import AirflowSkipException

from cae_pipeline.orchestration.tasks import RETRAINING_WANTED, TASK_DEFAULTS, plant_time_zone, run_cae

LATE, KNOBS = timedelta(hours=6), ("epochs", "seed", "preset", "effort")  # effort: the old name of preset
PRESET = "How much the training may cost; empty: as the line's settings say"


@dag(
    schedule=AssetOrTimeSchedule(
        timetable=CronTriggerTimetable("0 4 * * 0", timezone=plant_time_zone()), assets=[RETRAINING_WANTED]
    ),
    catchup=False,
    max_active_runs=1,
    default_args=TASK_DEFAULTS,
    params={
        "line": Param(None, type=["null", "string"], description="A line of lines.toml; empty: all of them"),
        "mode": Param("full", enum=["full", "refresh"], description="refresh starts from the champion's weights"),
        "epochs": Param(None, type=["null", "integer"], minimum=1, description="Empty: as the line's settings say"),
        "seed": Param(None, type=["null", "integer"], minimum=0, description="Empty: as the line's settings say"),
        "preset": Param(None, type=["null", "string"], enum=[None, "quick", "normal", "thorough"], description=PRESET),
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
        asked = {event.extra["line"]: event.extra for event in triggering_asset_events[RETRAINING_WANTED]}
        if asked and not params["line"]:
            return [{"line": line, "mode": extra["mode"], "note": extra["reason"]} for line, extra in asked.items()]
        lines = [params["line"]] if params["line"] else run_cae("lines", "names")["lines"]
        return [{"line": line, "mode": params["mode"], "note": params["note"] or ""} for line in lines]

    @task_group
    def life(wanted):
        # one after the other: each training takes all cores
        @task(map_index_template="{{ label }}", max_active_tis_per_dagrun=1)
        def train(wanted, params=None):
            get_current_context()["label"] = wanted["line"]
            said = [f"--{name}={params[name]}" for name in KNOBS if params.get(name) is not None]
            said += ["--refresh"] if wanted["mode"] == "refresh" else []
            return run_cae("train", wanted["line"], "--no-promote", f"--note={wanted['note']}", *said)

        @task(map_index_template="{{ label }}")
        def promote(wanted, challenger):
            get_current_context()["label"] = challenger["model_version"]
            return run_cae("promote", wanted["line"], challenger["model_version"])

        @task
        def needs_approval(decided):
            if not decided["awaits_approval"]:
                raise AirflowSkipException("nobody has to be asked")
            return decided["model_version"]

        @task
        def serve(wanted, model_version):
            return run_cae("champion", "approve", wanted["line"], model_version, "--note=approved in Airflow")

        challenger = needs_approval(promote(wanted, train(wanted)))
        subject = "May {{ ti.xcom_pull('life.needs_approval', map_indexes=ti.map_index) }} serve? See the gate's page."
        asked = ApprovalOperator(task_id="approve", subject=subject)
        challenger >> asked >> serve(wanted, challenger)

    life.expand(wanted=choose_lines())


train_model()
