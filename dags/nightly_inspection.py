"""Every night, for every line: find batches → validate → score → watch drift → publish → alert.

A batch that is rejected, or a line that cannot be looked at, fails the run and stops nothing else. Images of a line
without a champion wait. Any date can be run again: rows that are there stay as they are.
"""

from airflow.sdk import CronTriggerTimetable, Param, TriggerRule, dag, get_current_context, task

from cae_pipeline.orchestration import tasks
from cae_pipeline.orchestration.tasks import night_of, run_cae, run_for_lines


@dag(
    schedule=CronTriggerTimetable("30 23 * * *", timezone=tasks.plant_time_zone()),
    catchup=False,
    max_active_runs=1,
    default_args=tasks.TASK_DEFAULTS,
    params={
        "night": Param(None, type=["null", "string"], format="date", description="Empty: the run's own date"),
        "validate_again": tasks.VALIDATE_AGAIN,
    },
    tags=["cae"],
    doc_md=__doc__,
)
def nightly_inspection():
    @task
    def find_batches(dag_run=None, params=None):
        found = run_for_lines("find", "--night", night_of(dag_run, params))["batches"]
        return tasks.with_repeated(found, params["validate_again"])

    @task(map_index_template="{{ label }}")
    def validate(batch):
        get_current_context()["label"] = f"{batch['line']}/{batch['batch_id']}"
        return run_cae("validate", *tasks.arguments_of(batch))

    @task(trigger_rule=TriggerRule.ALL_DONE)
    def plan_chunks():
        return run_for_lines("plan")["chunks"]

    @task(map_index_template="{{ label }}")
    def score(chunk):
        get_current_context()["label"] = f"{chunk['line']}: {len(chunk['slices'])} slices"
        slices = [f"--slice={text}" for text in chunk["slices"]]
        return run_cae("score", chunk["line"], "--model-version", chunk["model_version"], *slices)

    @task(trigger_rule=TriggerRule.ALL_DONE)
    def watch_drift(dag_run=None, params=None):
        return run_for_lines("watch", "--night", night_of(dag_run, params))["retrain"]

    @task(outlets=[tasks.RETRAINING_WANTED])
    def ask_for_retraining(wanted, outlet_events=None):
        outlet_events[tasks.RETRAINING_WANTED].extra = wanted

    @task(trigger_rule=TriggerRule.ALL_DONE)
    def publish(dag_run=None, params=None):
        return run_cae("publish", "--night", night_of(dag_run, params))

    @task(trigger_rule=TriggerRule.ALL_DONE)
    def alert(dag_run=None, params=None):
        tasks.tell(run_for_lines("alert", "--night", night_of(dag_run, params)), get_current_context())
        tasks.check_lines("alert")

    @task
    def conclude():
        """Fail where a batch was rejected, a chunk not scored or a line left out: such a run must not look clean."""
        tasks.check_lines("find_batches", "plan_chunks", "watch_drift")

    validated, chunks = validate.expand(batch=find_batches()), plan_chunks()
    scored, drifted, published = score.expand(chunk=chunks), watch_drift(), publish()
    published.operator.operator_extra_links = (tasks.ReportLink(),)
    validated >> chunks
    scored >> drifted >> published
    ask_for_retraining.expand(wanted=drifted)
    published >> alert()
    [validated, scored, published] >> conclude()


nightly_inspection()
