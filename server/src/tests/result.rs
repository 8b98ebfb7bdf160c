//! `GET /v1/jobs/{id}/result`.

use std::time::Duration;

use serde_json::{Value, json};
use vmctl_core::{
    JobError, JobState,
    event::{Event, EventType},
};

use super::support::{MEMBER, OTHER, Suite, next};

#[tokio::test(start_paused = true)]
async fn a_result_is_the_output_alone_once_the_job_has_succeeded() {
    let suite = Suite::start().await;
    let mut work = suite.work("vm.create").await;
    let id = suite.submit().await;
    let path = format!("/v1/jobs/{id}/result");
    let early = suite.get(&path).await;
    assert_eq!(early.status, 202);
    assert_eq!(early.json()["state"], "queued");
    assert!(!early.header("retry-after").is_empty());

    let delivery = next(&mut work).await;
    let waiting = suite.request("GET", &path).token(MEMBER);
    let (reply, ()) = tokio::join!(waiting.header("Prefer", "wait=30").send(), async {
        tokio::time::sleep(Duration::from_secs(1)).await;
        let command = Event::parse(&delivery.message.body).unwrap();
        suite
            .say(&command, EventType::Succeeded, |e| {
                e.data.state = JobState::Succeeded;
                e.data.output = Some(json!({"ip": "10.1.2.3"}));
            })
            .await;
    });
    assert_eq!(reply.status, 200);
    assert_eq!(reply.json(), json!({"ip": "10.1.2.3"}));
    assert_eq!(reply.header("preference-applied"), "wait=30");
    let same = suite.request("GET", &path).token(MEMBER);
    let same = same.header("If-None-Match", reply.header("etag"));
    assert_eq!(same.send().await.status, 304);
    let foreign = suite.request("GET", &path).token(OTHER).send().await;
    foreign.is_problem(404, "job-not-found");
}

#[tokio::test(start_paused = true)]
async fn a_job_that_has_not_succeeded_has_no_result_and_says_why() {
    let suite = Suite::start().await;
    let mut work = suite.work("vm.create").await;
    let error: JobError = serde_json::from_value::<JobError>(json!({
        "type": "quota", "title": "no room left", "retryable": false
    }))
    .unwrap();
    for (how, state, why) in [
        (EventType::Failed, JobState::Failed, "no room left"),
        (
            EventType::Cancelled,
            JobState::Cancelled,
            "the job is cancelled",
        ),
    ] {
        let id = suite.submit().await;
        let delivery = next(&mut work).await;
        let command = Event::parse(&delivery.message.body).unwrap();
        suite
            .say(&command, how, |e| {
                e.data.state = state;
                e.data.error = (state == JobState::Failed).then(|| error.clone());
            })
            .await;
        delivery.ack().await.unwrap();
        suite.caught_up().await;
        let reply = suite.get(&format!("/v1/jobs/{id}/result")).await;
        let problem: Value = reply.is_problem(409, "job-not-succeeded");
        assert_eq!(
            (&problem["job_id"], &problem["detail"]),
            (&json!(id), &json!(why))
        );
    }
}
