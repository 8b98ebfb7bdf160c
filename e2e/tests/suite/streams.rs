//! Events as they happen, on connections that are cut.

use anyhow::{Context as _, Result, ensure};
use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};

use crate::support::{
    api::Api,
    frames::{Frame, Frames},
    suite::{DRAIN, Suite},
    wait::eventually,
};

/// The ids of a job's events, in the order of the log.
async fn history(api: &Api, id: &str) -> Result<Vec<String>> {
    let path = format!("/v1/jobs/{id}/events");
    let list = api.get(&path).await?.expect(200)?;
    let items = list.body["items"].as_array().context("no list")?;
    let ids = items.iter().filter_map(|event| event["id"].as_str());
    Ok(ids.map(str::to_owned).collect())
}

fn ids<'f>(frames: impl IntoIterator<Item = &'f Frame>) -> Vec<String> {
    let with_id = frames.into_iter().filter(|frame| !frame.id.is_empty());
    with_id.map(|frame| frame.id.clone()).collect()
}

#[tokio::test]
async fn a_job_is_followed_over_cuts_and_over_servers() -> Result<()> {
    let Some(mut suite) = Suite::new("sse").await? else {
        return Ok(());
    };
    suite.set("VMCTL_SIMULATED_DURATION", "12s");
    let mut three = suite.start_three().await?;
    let second = suite.start_ready("server").await?;
    let (api, other) = (suite.user(&three.server).await?, suite.user(&second).await?);
    // It starts when it is followed, so that the snapshot is from before.
    three.worker.stop(DRAIN).await?;
    let mut project = api.follow("/v1/events", None).await?;
    ensure!(project.one().await?.event == "snapshot");
    let id = api.create().await?;
    let path = format!("/v1/jobs/{id}/events");

    // While it runs: up to the start here, some more there, the rest here again.
    let mut seen = Vec::new();
    let mut events = api.follow(&path, None).await?;
    let snapshot = events.one().await?;
    ensure!(
        (snapshot.event.as_str(), snapshot.data["id"].as_str()) == ("snapshot", Some(id.as_str())),
        "{snapshot:?}"
    );
    seen.push(snapshot);
    three.worker = suite.start("worker").await?;
    while seen.last().is_some_and(|frame| frame.event != "started") {
        seen.push(events.event().await?);
    }
    drop(events);
    eventually("it goes on while nobody looks", async || {
        let all = history(&api, &id).await.map_err(|e| format!("{e:#}"))?;
        let last = all.iter().position(|e| Some(e) == ids(&seen).last());
        let more = last.is_some_and(|last| all.len() > last + 1);
        more.then_some(()).ok_or(format!("{} events", all.len()))
    })
    .await?;
    let last = ids(&seen).pop().context("no event yet")?;
    let mut events = other.follow(&path, Some(&last)).await?;
    seen.push(events.event().await?);
    seen.push(events.event().await?);
    drop(events);
    let last = ids(&seen).pop().context("no event yet")?;
    let rest = api.follow(&path, Some(&last)).await?.rest().await?;
    let progress = rest.iter().filter(|frame| frame.event == "progress");
    ensure!(progress.count() > 0, "no progress in {rest:?}");
    let end = rest.last().context("nothing came")?;
    ensure!(end.event == "succeeded", "{end:?}");
    seen.extend(rest);

    // Every event once and in order. A snapshot from before the view had any names none.
    let all = history(&api, &id).await?;
    let seen = ids(&seen);
    ensure!(all.ends_with(&seen), "{seen:?} of {all:?}");
    ensure!(all.len() <= seen.len() + 1, "{seen:?} of {all:?}");
    let last = all.last().context("no history")?;
    for api in [&api, &other] {
        ensure!(api.followed(&path, Some(last)).await?.status() == 204);
    }

    // The project's stream has shown the same, and goes on at the other server too.
    let mut shown = Vec::new();
    while shown.last() != Some(&all[1]) {
        shown.push(project.event().await?.id);
    }
    drop(project);
    let mut project = other.follow("/v1/events", Some(&all[1])).await?;
    while shown.last() != Some(last) {
        shown.push(project.event().await?.id);
    }
    ensure!(shown == all, "{shown:?} of {all:?}");
    second.stop(DRAIN).await?;
    three.stop().await
}

#[tokio::test]
async fn t14_a_stream_that_is_cut_at_random_points_shows_every_event_once_and_in_order()
-> Result<()> {
    let Some(mut suite) = Suite::new("sse-cuts").await? else {
        return Ok(());
    };
    suite.set("VMCTL_SIMULATED_DURATION", "6s");
    let three = suite.start_three().await?;
    let second = suite.start_ready("server").await?;
    let servers = [suite.user(&three.server).await?, suite.user(&second).await?];
    let mut random = StdRng::seed_from_u64(14);
    for _ in 0..5 {
        let id = servers[0].create().await?;
        let path = format!("/v1/jobs/{id}/events");
        let (mut seen, mut turn) = (Vec::<String>::new(), 0);
        loop {
            turn += 1;
            let last = seen.last().map(String::as_str);
            let answer = servers[turn % 2].followed(&path, last).await?;
            if answer.status() == 204 {
                break;
            }
            let mut events = Frames::of(answer)?;
            for _ in 0..random.random_range(0..5) {
                let Some(frame) = events.next().await? else {
                    break;
                };
                if !frame.id.is_empty() {
                    seen.push(frame.id);
                }
            }
        }
        let all = history(&servers[0], &id).await?;
        // A connection that was cut before its snapshot has named no place yet.
        ensure!(
            turn > 2 && !seen.is_empty() && all.ends_with(&seen),
            "{seen:?} of {all:?}"
        );
    }
    second.stop(DRAIN).await?;
    three.stop().await
}

#[tokio::test]
async fn a_log_is_followed_over_cuts_and_read_afterwards() -> Result<()> {
    let Some(mut suite) = Suite::new("logs").await? else {
        return Ok(());
    };
    suite.set("VMCTL_SIMULATED_DURATION", "3s");
    let three = suite.start_three().await?;
    let second = suite.start_ready("server").await?;
    let servers = [suite.user(&three.server).await?, suite.user(&second).await?];
    let id = servers[0].create().await?;
    let path = format!("/v1/jobs/{id}/logs");
    // Cut after every line, at one server and the other.
    let (mut seen, mut turn) = (Vec::<Frame>::new(), 0);
    let end = loop {
        turn += 1;
        let last = seen.last().map(|line| line.id.as_str());
        let mut log = servers[turn % 2].follow(&path, last).await?;
        let frame = log.one().await?;
        match frame.event.as_str() {
            "log" => seen.push(frame),
            _ => break frame,
        }
    };
    ensure!(
        end.event == "end" && end.data["state"] == "succeeded",
        "{end:?}"
    );
    let texts: Vec<_> = seen
        .iter()
        .filter_map(|line| line.data["text"].as_str())
        .collect();
    ensure!(
        texts.len() > 3 && texts[0].starts_with("creating "),
        "{texts:?}"
    );
    ensure!(
        texts
            .iter()
            .any(|text| text.contains(" is ready, address ")),
        "{texts:?}"
    );
    let whole = servers[1].follow(&path, None).await?.rest().await?;
    ensure!(ids(&whole) == ids(&seen), "{whole:?} for {seen:?}");
    second.stop(DRAIN).await?;
    three.stop().await
}

#[tokio::test]
async fn jobs_that_two_readers_share_come_in_the_order_of_the_log() -> Result<()> {
    let Some(suite) = Suite::new("sse-many").await? else {
        return Ok(());
    };
    let three = suite.start_three().await?;
    let second = suite.start_ready("reader").await?;
    let api = suite.user(&three.server).await?;
    let jobs = api.create_many(6).await?;
    let path = format!("/v1/events?job={}", jobs.join("&job="));
    // How much had been said when the snapshots had been read, and so is in them or comes after.
    let lengths = async || {
        let mut lengths = Vec::new();
        for id in &jobs {
            lengths.push(history(&api, id).await?.len());
        }
        anyhow::Ok(lengths)
    };
    let mut snapshots: Frames = api.follow(&path, None).await?;
    let mut seen = Vec::new();
    for id in &jobs {
        let frame = snapshots.one().await?;
        ensure!(frame.data["id"] == id.as_str(), "{frame:?} for {id}");
        seen.push(frame);
    }
    // Cut after every event until all have ended.
    drop(snapshots);
    let mut before = lengths().await?;
    loop {
        let last = ids(&seen).pop();
        let answer = api.followed(&path, last.as_deref()).await?;
        if answer.status() == 204 {
            break;
        }
        let mut events = Frames::of(answer)?;
        if last.is_none() {
            seen.clear();
            for _ in &jobs {
                seen.push(events.one().await?);
            }
            before = lengths().await?;
        }
        // The stream ends when the last job did, and only then.
        while let Some(frame) = events.next().await? {
            if !frame.id.is_empty() {
                seen.push(frame);
                break;
            }
        }
    }
    for (id, before) in jobs.iter().zip(before) {
        let of_job = |frame: &&Frame| frame.data["subject"] == id.as_str();
        let shown = ids(seen.iter().filter(of_job));
        let all = history(&api, id).await?;
        ensure!(all.ends_with(&shown), "{shown:?} of {all:?}");
        ensure!(
            shown.len() + before >= all.len(),
            "{shown:?} of {all:?}, {before} before"
        );
    }
    second.stop(DRAIN).await?;
    three.stop().await
}
