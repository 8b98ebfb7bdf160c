//! What a user of one project can learn about the jobs of another: nothing.

use anyhow::{Context as _, Result, ensure};
use reqwest::Method;
use serde_json::{Value, json};

use crate::support::{
    api::{Answer, Api, is_on_its_way},
    suite::Suite,
    wait::eventually,
};

/// Every way to reach one job.
async fn all_ways(api: &Api, id: &str) -> Result<Vec<Answer>> {
    let mut answers = Vec::new();
    for (method, path, body) in [
        (Method::GET, format!("/v1/jobs/{id}"), None),
        (Method::GET, format!("/v1/jobs/{id}/events"), None),
        (Method::GET, format!("/v1/vm/{id}"), None),
        (
            Method::POST,
            format!("/v1/jobs/{id}/cancel"),
            Some(json!({})),
        ),
    ] {
        answers.push(told(api, method, &path, &[], body.as_ref()).await?);
    }
    for path in [
        format!("/v1/jobs/{id}/events"),
        format!("/v1/events?job={id}"),
    ] {
        let stream = [("Accept", "text/event-stream")];
        answers.push(told(api, Method::GET, &path, &stream, None).await?);
    }
    Ok(answers)
}

/// Asks until the view is not behind: before, nobody knows what there is.
async fn told(
    api: &Api,
    method: Method,
    path: &str,
    headers: &[(&'static str, &str)],
    body: Option<&Value>,
) -> Result<Answer> {
    eventually(path, async || {
        let answer = api.send(method.clone(), path, headers, body).await;
        let answer = answer.map_err(|error| format!("{error:#}"))?;
        if is_on_its_way(&answer) {
            return Err(answer.text);
        }
        Ok(answer)
    })
    .await
}

#[tokio::test]
async fn t09_a_job_of_another_project_does_not_exist() -> Result<()> {
    let Some(suite) = Suite::new("projects").await? else {
        return Ok(());
    };
    let three = suite.start_three().await?;
    let (joe, ann) = (
        suite.user(&three.server).await?,
        suite.stranger(&three.server).await?,
    );
    let (his, hers) = (joe.create().await?, ann.create().await?);
    // An id that nobody has: the last digit of one that exists is another.
    let digit = his.chars().last().context("an id has digits")?;
    let other = if digit == '0' { '1' } else { '0' };
    let nobodys = format!("{}{other}", &his[..his.len() - 1]);

    for state in ["running or queued", "succeeded"] {
        let foreign = all_ways(&ann, &his).await?;
        let absent = all_ways(&ann, &nobodys).await?;
        for (foreign, absent) in foreign.into_iter().zip(absent) {
            let foreign = foreign.expect(404)?;
            ensure!(foreign.problem() == "job-not-found", "{state}: {foreign:?}");
            let alike = |answer: &Answer, id: &str| {
                let mut body = answer.body.clone();
                body["request_id"].take();
                body.to_string().replace(id, "ID")
            };
            ensure!(
                alike(&foreign, &his) == alike(&absent, &nobodys),
                "{state}: {foreign:?} tells more than {absent:?}"
            );
        }
        joe.until(&his, "succeeded").await?;
    }
    ann.until(&hers, "succeeded").await?;
    for (api, own) in [(&joe, &his), (&ann, &hers)] {
        let list = api.get("/v1/jobs").await?.expect(200)?;
        let items = list.body["items"].as_array().context("no list")?;
        let ids: Vec<_> = items.iter().map(|job| &job["id"]).collect();
        ensure!(ids == [own.as_str()], "{}", list.text);
    }
    // Her cancel did nothing to it.
    let job = joe.until(&his, "succeeded").await?;
    ensure!(job["cancel_requested_at"].is_null(), "{job}");
    three.stop().await
}
