//! `POST /v1/jobs/{id}/retry`.

use jiff::Timestamp;
use serde_json::{Value, json};
use vmctl_core::{
    JobState,
    event::{Event, EventType, MAX_COUNT},
    memory::bus::ConfirmFailure,
};

use super::support::{MEMBER, OTHER, READER, Reply, Suite, next};

async fn retry(suite: &Suite, id: &str) -> Reply {
    let path = format!("/v1/jobs/{id}/retry");
    suite.request("POST", &path).token(MEMBER).send().await
}

/// Submits a job and lets a worker end it; returns its id.
async fn ended(suite: &Suite, how: EventType, state: JobState) -> String {
    let mut work = suite.work("vm.create").await;
    let id = suite.submit().await;
    let delivery = next(&mut work).await;
    let command = Event::parse(&delivery.message.body).unwrap();
    suite.say(&command, how, |e| e.data.state = state).await;
    delivery.ack().await.unwrap();
    suite.caught_up().await;
    id
}

fn length(job: &Value, since: &str) -> jiff::SignedDuration {
    let at = |name: &str| job[name].as_str().unwrap().parse::<Timestamp>().unwrap();
    at("deadline").duration_since(since.parse().unwrap())
}

#[tokio::test(start_paused = true)]
async fn a_failed_job_runs_again_in_the_next_epoch_with_as_much_time() {
    let suite = Suite::start().await;
    let id = ended(&suite, EventType::Failed, JobState::Failed).await;
    let before = suite.get(&format!("/v1/jobs/{id}")).await.json();
    let given = length(&before, before["created_at"].as_str().unwrap());

    tokio::time::advance(std::time::Duration::from_secs(3600)).await;
    for epoch in 1..=2 {
        let mut work = suite.work("vm.create").await;
        let reply = retry(&suite, &id).await;
        assert_eq!(reply.status, 202);
        let job = reply.json();
        assert_eq!(
            (&job["state"], &job["epoch"], &job["attempt"]),
            (&json!("queued"), &json!(epoch), &json!(1))
        );
        assert!(job["error"].is_null() && job["started_at"].is_null());

        let delivery = next(&mut work).await;
        let command = Event::parse(&delivery.message.body).unwrap();
        assert_eq!(
            (command.event_type, command.subject.to_string()),
            (EventType::Redriven, id.clone())
        );
        assert_eq!(command.data.job.input, before["input"]);
        let again = length(&job, &command.time.to_string());
        assert!(
            (given - again).abs() < jiff::SignedDuration::from_secs(1),
            "{given} {again}"
        );

        suite
            .say(&command, EventType::Failed, |e| {
                e.data.state = JobState::Failed;
            })
            .await;
        delivery.ack().await.unwrap();
        suite.caught_up().await;
    }

    let mut work = suite.work("vm.create").await;
    assert_eq!(retry(&suite, &id).await.status, 202);
    suite.finish(next(&mut work).await).await;
    suite.caught_up().await;
    let job = suite.get(&format!("/v1/jobs/{id}")).await.json();
    assert_eq!(
        (&job["state"], &job["epoch"]),
        (&json!("succeeded"), &json!(3))
    );
    let events = suite.get(&format!("/v1/jobs/{id}/events")).await.json();
    let items = events["items"].as_array().unwrap();
    let count = |word: &str| items.iter().filter(|e| e["type"] == word).count();
    assert_eq!(
        (count("failed"), count("redriven"), count("succeeded")),
        (3, 3, 1)
    );
}

#[tokio::test(start_paused = true)]
async fn a_cancelled_job_runs_again_and_its_wish_to_cancel_is_over() {
    let suite = Suite::start().await;
    let mut work = suite.work("vm.create").await;
    let id = suite.submit().await;
    let path = format!("/v1/jobs/{id}/cancel");
    let asked = suite.request("POST", &path).token(MEMBER).send().await;
    assert_eq!(asked.status, 202);
    let delivery = next(&mut work).await;
    let command = Event::parse(&delivery.message.body).unwrap();
    suite
        .say(&command, EventType::Cancelled, |e| {
            e.data.state = JobState::Cancelled;
        })
        .await;
    delivery.ack().await.unwrap();
    suite.caught_up().await;
    let job = retry(&suite, &id).await.json();
    assert_eq!(job["state"], "queued");
    assert!(job["cancel_requested_at"].is_null());
}

#[tokio::test(start_paused = true)]
async fn t08_a_live_or_succeeded_job_is_not_run_again() {
    let suite = Suite::start().await;
    let done = ended(&suite, EventType::Succeeded, JobState::Succeeded).await;
    let twice = ended(&suite, EventType::Failed, JobState::Failed).await;
    let live = suite.submit().await;
    assert_eq!(retry(&suite, &twice).await.status, 202);
    for id in [&live, &done, &twice] {
        let problem = retry(&suite, id).await.is_problem(409, "not-retryable");
        assert_eq!(problem["job_id"], **id);
    }
}

#[tokio::test(start_paused = true)]
async fn who_may_not_submit_may_not_retry_and_a_stale_if_match_is_412() {
    let suite = Suite::start().await;
    let id = ended(&suite, EventType::Failed, JobState::Failed).await;
    let path = format!("/v1/jobs/{id}/retry");
    let call = async |token: &str| suite.request("POST", &path).token(token).send().await;
    call(READER).await.is_problem(403, "forbidden");
    call(OTHER).await.is_problem(404, "job-not-found");
    let stale = suite.request("POST", &path).token(MEMBER);
    let stale = stale.header("If-Match", "\"old\"").send().await;
    stale.is_problem(412, "precondition-failed");
    let job = suite.get(&format!("/v1/jobs/{id}")).await.json();
    assert_eq!(
        (&job["state"], &job["epoch"]),
        (&json!("failed"), &json!(0))
    );
}

#[tokio::test(start_paused = true)]
async fn without_the_broker_the_job_stays_as_it_is() {
    let suite = Suite::start().await;
    let id = ended(&suite, EventType::Failed, JobState::Failed).await;
    suite.broker.set_blocked(Some("disk"));
    retry(&suite, &id).await.is_problem(503, "bus-unavailable");
    suite.broker.set_blocked(None);
    let last = suite.app.marks.newest().map(|m| m.time);
    super::support::eventually("a mark", async || {
        suite.app.marks.newest().map(|m| m.time) != last
    })
    .await;
    suite.broker.fail_next_confirms(1, ConfirmFailure::Timeout);
    let problem = retry(&suite, &id).await.is_problem(503, "outcome-unknown");
    assert_eq!(problem["job_id"], id);
}

#[tokio::test(start_paused = true)]
async fn a_job_whose_runs_cannot_be_counted_on_is_not_retried() {
    let suite = Suite::start().await;
    let (id, command) = suite.job().await;
    for (epoch, answer) in [(MAX_COUNT - 1, 202), (MAX_COUNT, 409)] {
        let last = |event: &mut Event| {
            event.data.epoch = epoch;
            event.data.state = JobState::Failed;
        };
        suite.say(&command, EventType::Failed, last).await;
        suite.caught_up().await;
        let reply = retry(&suite, &id).await;
        if answer == 409 {
            reply.is_problem(409, "not-retryable");
        } else {
            assert_eq!(reply.status, answer, "{reply:?}");
        }
    }
}
