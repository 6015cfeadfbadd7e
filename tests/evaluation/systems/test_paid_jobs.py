import json
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from tests.evaluation.conftest import FastClock, make_job
from tests.evaluation.systems.stand_in import FAULTS, KEYS, serving
from vap.evaluation.systems.kling import KlingEffects
from vap.evaluation.systems.paid_system import PaidSystem
from vap.evaluation.systems.videos_api import VideosApi
from vap.evaluation.systems.vidu import ViduImageToVideo, ViduTemplate
from vap.media import probe_clip

KINDS = {
    "kling": (KlingEffects, {"effects": {"melt": "melt_it"}, "price": 2, "budget": 100}),
    "vidu": (ViduTemplate, {"templates": {"melt": "melting"}, "price": 4, "budget": 100}),
    "openai": (VideosApi, {"idempotent": True}),
}


def make(kind, url, **settings):
    system, usual = KINDS[kind]
    return system(name=kind, base_url=url, **(usual | settings))


@pytest.fixture(params=list(KINDS))
def kind(request):
    return request.param


def run(system, folder, *jobs):
    return list(system.run(jobs, folder / "ledger"))


def test_a_job_is_submitted_asked_for_and_downloaded(kind, stand_in, clock, job, tmp_path):
    (outcome,) = run(make(kind, stand_in.url), tmp_path, job())
    assert outcome.error is None
    assert probe_clip(outcome.job.output).frames == 4
    assert outcome.details["task"] == "task-0"
    assert outcome.cost == {"kling": 2, "vidu": 4, "openai": 0}[kind]
    assert outcome.seconds > 0
    assert len(stand_in.tasks) == 1


@pytest.mark.parametrize(("request_kind", "fault"), [(k, f) for k in FAULTS for f in FAULTS[k]])
def test_each_fault_ends_in_one_success_or_one_explained_error(
    kind, request_kind, fault, stand_in, clock, job, tmp_path
):
    faults = {request_kind: [fault]}
    if request_kind == "find":
        faults["submit"] = ["drop-after"]
    stand_in.plan(**faults)
    (outcome,) = run(make(kind, stand_in.url), tmp_path, job())
    if fault == "reject":
        assert "against the rules" in outcome.error
        assert outcome.cost == 0
        assert not stand_in.tasks
    else:
        assert outcome.error is None
        assert outcome.job.output.exists()
        assert len(stand_in.tasks) == 1


def test_jobs_run_side_by_side_up_to_the_limit(stand_in, clock, job, tmp_path):
    jobs = [job(f"cat{i}") for i in range(5)]
    stand_in.polls = 2
    outcomes = run(make("vidu", stand_in.url, in_flight=2), tmp_path, *jobs)
    assert {o.job.case.name for o in outcomes} == {f"cat{i}" for i in range(5)}
    begun = [path.startswith("/ent/v2/template") for _, path in stand_in.requests]
    assert sum(begun[:5]) == 2


def test_what_is_done_is_neither_submitted_nor_asked_for_again(
    kind, stand_in, clock, job, tmp_path
):
    system = make(kind, stand_in.url)
    run(system, tmp_path, job())
    before = len(stand_in.requests)
    (outcome,) = run(system, tmp_path, job())
    assert outcome.error is None
    assert len(stand_in.requests) == before
    outcome.job.output.unlink()
    (outcome,) = run(system, tmp_path, job())
    assert outcome.job.output.exists()
    assert len(stand_in.tasks) == 1


def test_other_settings_or_seeds_or_images_are_other_jobs(stand_in, clock, job, tmp_path):
    run(make("kling", stand_in.url), tmp_path, job())
    run(make("kling", stand_in.url), tmp_path, job(seed=1))
    run(make("kling", stand_in.url, mode="pro"), tmp_path, job())
    effects = {"melt": "melt_it", "other": "more"}
    run(make("kling", stand_in.url, effects=effects, budget=99), tmp_path, job())
    assert len(stand_in.tasks) == 3  # an effect of another condition changes nothing


def test_a_restart_asks_for_tasks_and_does_not_submit_them(kind, stand_in, clock, job, tmp_path):
    stand_in.polls = 50
    system = make(kind, stand_in.url, timeout_seconds=60)
    (outcome,) = run(system, tmp_path, job())
    assert "not paid for again" in outcome.error
    stand_in.polls = 0
    (outcome,) = run(system, tmp_path, job())
    assert outcome.error is None
    assert len(stand_in.tasks) == 1


@pytest.mark.parametrize(
    ("service", "key"), [("kling", "KLING_SECRET_KEY"), ("vidu", "VIDU_API_KEY")]
)
def test_a_wrong_key_loses_nothing(service, key, stand_in, clock, job, tmp_path, monkeypatch):
    system = make(service, stand_in.url, timeout_seconds=30)
    stand_in.polls = 50
    run(system, tmp_path, job())
    stand_in.polls = 0
    asked = len(stand_in.requests)
    with monkeypatch.context() as patch:
        patch.setenv(key, "a-key-that-is-long-enough-but-not-the-right-one")
        (outcome,) = run(system, tmp_path, job())
    assert "not allowed" in outcome.error
    assert len(stand_in.requests) == asked + 1
    (outcome,) = run(system, tmp_path, job())
    assert outcome.error is None
    assert len(stand_in.tasks) == 1


def test_the_budget_is_never_passed_over_restarts(stand_in, clock, job, tmp_path):
    jobs = [job(f"cat{i}") for i in range(4)]
    system = make("vidu", stand_in.url, budget=9)
    outcomes = run(system, tmp_path, *jobs)
    assert sum(o.cost for o in outcomes) == 8
    assert sum(o.error is not None and "budget" in o.error for o in outcomes) == 2
    over = [o.job for o in outcomes if o.error]
    again = run(system, tmp_path, *over)
    assert all("budget" in o.error for o in again)
    assert len(stand_in.tasks) == 2
    run(make("vidu", stand_in.url, budget=12), tmp_path, *over)
    assert len(stand_in.tasks) == 3


def test_the_budget_counts_what_may_have_been_paid(stand_in, clock, job, tmp_path):
    stand_in.knows_own_ids = False
    stand_in.plan(submit=["drop-after"])
    system = make("vidu", stand_in.url, budget=7)
    outcomes = run(system, tmp_path, job("cat"), job("dog"))
    assert {o.job.case.name: o.cost for o in outcomes} == {"cat": 4, "dog": 0}
    assert "budget" in next(o.error for o in outcomes if o.job.case.name == "dog")


def test_a_lost_submission_is_an_error_unless_it_is_to_be_repeated(stand_in, clock, job, tmp_path):
    stand_in.knows_own_ids = False
    stand_in.plan(submit=["drop-after"])
    (outcome,) = run(make("vidu", stand_in.url), tmp_path, job())
    assert "may have been paid for" in outcome.error
    assert "resubmit_lost" in outcome.error
    assert outcome.cost == 4
    (outcome,) = run(make("vidu", stand_in.url), tmp_path, job())
    assert "may have been paid for" in outcome.error
    assert len(stand_in.tasks) == 1
    (outcome,) = run(make("vidu", stand_in.url, resubmit_lost=True), tmp_path, job())
    assert outcome.error is None
    assert len(stand_in.tasks) == 2


def test_resubmitting_is_done_once(stand_in, clock, job, tmp_path):
    stand_in.knows_own_ids = False
    stand_in.plan(submit=["drop-after"] * 9)
    (outcome,) = run(make("vidu", stand_in.url, resubmit_lost=True), tmp_path, job())
    assert "may have been paid for" in outcome.error
    assert len(stand_in.tasks) == 2


def test_a_free_server_gets_lost_submissions_again(stand_in, clock, job, tmp_path):
    stand_in.plan(submit=["drop-after", "error"])
    (outcome,) = run(make("openai", stand_in.url, idempotent=False), tmp_path, job())
    assert outcome.error is None


def test_a_duplicate_id_leads_to_the_task_that_has_it(stand_in, clock, job, tmp_path):
    # The service tells the id only later: the second submission is refused as a duplicate.
    stand_in.plan(submit=["drop-after"])
    stand_in.late = True
    system = make("kling", stand_in.url)
    (outcome,) = run(system, tmp_path, job())
    assert outcome.error is None
    assert len(stand_in.tasks) == 1


def test_a_refusal_says_nothing_of_an_earlier_try(stand_in, clock, job, tmp_path):
    stand_in.plan(submit=["drop-after", "reject"])
    (outcome,) = run(make("openai", stand_in.url), tmp_path, job())
    assert "against the rules" in outcome.error
    (outcome,) = run(make("openai", stand_in.url), tmp_path, job())
    assert outcome.error is None
    assert len(stand_in.tasks) == 1


def test_a_busy_service_is_asked_ever_less_often(stand_in, clock, job, tmp_path):
    stand_in.plan(submit=["busy"] * 6)
    run(make("kling", stand_in.url), tmp_path, job())
    waits = clock.slept[:6]
    assert all(0.5 * 2 ** (k + 1) <= wait <= 2 ** (k + 1) for k, wait in enumerate(waits))


def test_retry_after_is_kept(stand_in, clock, job, tmp_path):
    stand_in.retry_after = "77"
    stand_in.plan(submit=["busy"])
    run(make("vidu", stand_in.url), tmp_path, job())
    assert clock.slept[0] >= 77


def test_an_endless_rate_limit_costs_nothing(stand_in, clock, job, tmp_path):
    stand_in.plan(submit=["busy"] * 1000)
    (outcome,) = run(make("kling", stand_in.url, timeout_seconds=600), tmp_path, job())
    assert "too many tasks" in outcome.error
    assert outcome.cost == 0


def test_an_empty_account_ends_submissions_but_not_what_is_under_way(
    stand_in, clock, job, tmp_path
):
    stand_in.plan(submit=["", "empty"])
    outcomes = run(make("kling", stand_in.url), tmp_path, *(job(f"cat{i}") for i in range(4)))
    assert sorted(o.error is None for o in outcomes) == [False, False, False, True]
    assert all("no units left" in o.error for o in outcomes if o.error)
    assert sum(kind == "submit" for kind, _ in stand_in.requests) == 2


@pytest.mark.parametrize(("service", "cost", "tasks"), [("kling", 0, 2), ("vidu", 4, 1)])
def test_a_failed_task_is_tried_again_only_if_it_was_free(
    service, cost, tasks, stand_in, clock, job, tmp_path
):
    stand_in.failure = "the image has no face"
    for _ in range(2):
        (outcome,) = run(make(service, stand_in.url), tmp_path, job())
        assert "no face" in outcome.error
        assert outcome.cost == cost
    assert len(stand_in.tasks) == tasks


@pytest.mark.parametrize("fault", ["expired", "cut", "page"])
def test_a_download_that_never_works_is_tried_again_by_the_next_run(
    fault, stand_in, clock, job, tmp_path
):
    stand_in.plan(download=[fault] * 6)
    (outcome,) = run(make("kling", stand_in.url), tmp_path, job())
    assert "download" in outcome.error
    assert not outcome.job.output.exists()
    (outcome,) = run(make("kling", stand_in.url), tmp_path, job())
    assert outcome.error is None
    assert len(stand_in.tasks) == 1


def test_frames_are_written_where_a_benchmark_needs_them(stand_in, clock, job, tmp_path):
    whole = job()
    (outcome,) = run(
        make("openai", stand_in.url), tmp_path, replace(whole, output=tmp_path / "frames")
    )
    assert outcome.error is None
    assert len(list((tmp_path / "frames").glob("*.png"))) == 4


def test_no_key_is_told(kind, stand_in, clock, job, tmp_path, monkeypatch, caplog):
    caplog.set_level("DEBUG")
    wrong = "not-the-key-of-anyone-whom-this-server-knows"
    for name in ("KLING_SECRET_KEY", "VIDU_API_KEY", "VIDEOS_API_KEY"):
        monkeypatch.setenv(name, wrong)
    system = make(kind, stand_in.url)
    (outcome,) = run(system, tmp_path, job())
    if kind != "openai":
        assert "[secret]" in outcome.error  # the server repeats the header
    told = [outcome.error or "", json.dumps(dict(system.identity())), caplog.text]
    told += [path.read_text() for path in (tmp_path / "ledger").iterdir()]
    for text in told:
        assert wrong not in text
        assert "eyJ" not in text  # a signed token


@pytest.mark.parametrize("variable", ["KLING_SECRET_KEY", "VIDU_API_KEY"])
def test_a_missing_key_is_named_before_the_start(variable, clock, monkeypatch):
    monkeypatch.delenv(variable)
    with pytest.raises(ValueError, match=variable):
        make("kling" if "KLING" in variable else "vidu", "http://localhost:1").check()


@pytest.mark.parametrize("key", ["“quoted”", "two\nlines"])
def test_what_is_no_key_is_refused_without_telling_it(key, clock, monkeypatch):
    monkeypatch.setenv("VIDU_API_KEY", key)
    with pytest.raises(ValueError, match="VIDU_API_KEY") as raised:
        make("vidu", "http://localhost:1").check()
    assert key not in str(raised.value)


@pytest.mark.parametrize("url", ["localhost:8000", "", "ftp://x", "http://"])
def test_an_address_needs_its_scheme(url):
    with pytest.raises(ValidationError, match="base_url"):
        make("openai", url)


@pytest.mark.parametrize("settings", [{"price": None}, {"budget": None}])
def test_a_price_and_a_budget_are_needed(settings, clock):
    with pytest.raises(ValueError, match="budget"):
        make("kling", "http://localhost:1", **settings).check()


def test_two_runs_at_once_are_refused(stand_in, clock, job, tmp_path):
    system = make("openai", stand_in.url)
    first = system.run([job("cat"), job("dog")], tmp_path / "ledger")
    next(first)
    with pytest.raises(ValueError, match="Another run"):
        run(system, tmp_path, job())
    first.close()
    assert len(run(system, tmp_path, job("cat"), job("dog"))) == 2


def test_an_input_that_is_not_taken_is_an_error_of_its_case_alone(stand_in, clock, job, tmp_path):
    long = job("dog")
    long = replace(long, case=replace(long.case, prompt="x" * 2001))
    gone = job("cow")
    gone.case.image.unlink()
    settings = {"price": 1, "budget": 9}
    system = ViduImageToVideo(name="v", base_url=stand_in.url, **settings)
    outcomes = {o.job.case.name: o for o in run(system, tmp_path, job("cat"), long, gone)}
    assert outcomes["cat"].error is None
    assert "2001" in outcomes["dog"].error
    assert "cow.png" in outcomes["cow"].error


class Killed(BaseException):
    pass


class MortalClock(FastClock):
    """Kills the client at given looks at the clock or sleeps."""

    def __init__(self, kills):
        super().__init__()
        self.kills = list(kills)

    def _may_die(self):
        if self.kills:
            self.kills[0] -= 1
            if self.kills[0] <= 0:
                self.kills.pop(0)
                raise Killed

    def time(self):
        self._may_die()
        return self.now

    def sleep(self, seconds):
        self.now += seconds
        self._may_die()


faults = st.fixed_dictionaries(
    {kind: st.lists(st.sampled_from(["", *names]), max_size=8) for kind, names in FAULTS.items()}
)


stories = given(
    kind=st.sampled_from(sorted(KINDS)),
    script=faults,
    kills=st.lists(st.integers(1, 40), max_size=5),
    knows=st.booleans(),
    polls=st.integers(0, 3),
    budget=st.sampled_from([3, 9, 1000]),
)


def check_story(kind, script, kills, knows, polls, budget, video, folder):
    """Whatever happens, each case ends once and is paid for at most once."""
    jobs = {name: make_job(folder, name, video) for name in ("cat", "dog", "cow")}
    with serving(video) as stand_in, pytest.MonkeyPatch.context() as patch:
        for name, value in KEYS.items():
            patch.setenv(name, value)
        patch.setattr(PaidSystem, "clock", MortalClock(kills))
        stand_in.plan(**script)
        stand_in.polls, stand_in.knows_own_ids = polls, knows or kind == "openai"
        system = make(kind, stand_in.url, budget=budget)
        left, outcomes = dict(jobs), []
        while left:
            try:
                for outcome in system.run(list(left.values()), folder / "ledger"):
                    outcomes.append(outcome)
                    del left[outcome.job.case.name]
            except Killed:
                continue
        assert sorted(o.job.case.name for o in outcomes) == sorted(jobs)
        for outcome in outcomes:
            assert outcome.error is None or outcome.error.strip()
            assert (outcome.error is None) == outcome.job.output.exists()
        assert len(stand_in.tasks) * system.price <= budget
        bodies = [asked(task.body) for task in stand_in.tasks]
        assert len(set(bodies)) == len(bodies)


def asked(body):
    """What was asked for, without the ids of the client."""
    ids = ("external_task_id", "payload")
    return json.dumps({name: value for name, value in body.items() if name not in ids})


@settings(max_examples=12)
@stories
def test_whatever_happens_each_case_ends_once_and_is_paid_for_once(
    kind, script, kills, knows, polls, budget, video, tmp_path_factory
):
    folder = tmp_path_factory.mktemp("run")
    check_story(kind, script, kills, knows, polls, budget, video, folder)


@pytest.mark.slow
@settings(max_examples=150)
@stories
def test_whatever_happens_in_many_stories(
    kind, script, kills, knows, polls, budget, video, tmp_path_factory
):
    folder = tmp_path_factory.mktemp("run")
    check_story(kind, script, kills, knows, polls, budget, video, folder)
