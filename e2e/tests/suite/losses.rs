//! Redis loses everything, or the newest part, while a thousand jobs live, a thousand have ended and
//! clients ask for all of them: no job is ever said not to be there, none goes back, and all are the
//! same afterwards.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};

use crate::support::{
    api::{Answer, Api},
    group::{Group, PAIR, SHARDS},
    polling::{Answers, Polling},
    population::{Folding, Population},
    process::Process,
    suite::{DRAIN, Suite},
    wait::eventually,
};

/// Every finished job has at least three events, every other one.
const EVENTS: usize = 4_000;

/// A suite with its jobs, and two servers that clients ask in turn.
struct Place {
    suite: Suite,
    server: Process,
    second: Process,
    apis: [Api; 2],
    jobs: Population,
}

impl Place {
    async fn new(case: &str, redis: Option<String>) -> Result<Option<(Self, Process)>> {
        let Some(mut suite) = Suite::new(case).await? else {
            return Ok(None);
        };
        if let Some(url) = redis {
            suite.set("VMCTL_REDIS_URL", url);
        }
        let (server, reader) = (suite.start("server").await?, suite.start("reader").await?);
        suite.probe(&server, "ready", 200).await?;
        let second = suite.start_ready("server").await?;
        let here = suite.user(&server).await?;
        // Connections are used again, but none that the server may be about to close.
        let pool = reqwest::Client::builder()
            .no_proxy()
            .pool_idle_timeout(Duration::from_secs(1))
            .build()?;
        let apis = [&server, &second].map(|server| Api::new(&pool, server, &here.token));
        let started = Instant::now();
        let jobs = Population::make(&mut suite, &apis[0]).await?;
        eprintln!(
            "{case}: {} jobs in {:.1?}",
            jobs.ids.len(),
            started.elapsed()
        );
        let place = Self {
            suite,
            server,
            second,
            apis,
            jobs,
        };
        Ok(Some((place, reader)))
    }

    fn poll(&self) -> Polling {
        Polling::start(&self.apis, &self.jobs.ids)
    }

    /// Everything is as it was. Clients go on to ask both servers meanwhile.
    async fn is_whole(&self, what: &str, polling: Polling, lost: Instant) -> Result<Answers> {
        let whole = self.jobs.is_what_it_was(&self.apis[0]).await;
        whole.context(what.to_owned())?;
        let whole = lost.elapsed();
        let answers = polling.stop().await.context(what.to_owned())?;
        eprintln!(
            "{what}: all {} equal after {whole:.1?}; {answers:?}",
            self.jobs.ids.len()
        );
        ensure!(answers.found > 0, "{what}: nothing was found");
        Ok(answers)
    }

    async fn end(self, readers: Vec<Process>) -> Result<()> {
        self.jobs.end()?;
        self.server.stop(DRAIN).await?;
        self.second.stop(DRAIN).await?;
        for reader in readers {
            reader.stop(DRAIN).await?;
        }
        Ok(())
    }
}

#[tokio::test]
async fn t05_a_flush_a_restart_empty_and_a_killed_reader_hide_no_job() -> Result<()> {
    let Some((mut place, reader)) = Place::new("losses", None).await? else {
        return Ok(());
    };

    let polling = place.poll();
    let folding = Folding::watch(&place.suite, &reader).await?;
    let lost = Instant::now();
    place.suite.redis.flush()?;
    folding.report("flushed", EVENTS).await?;
    let answers = place.is_whole("flushed", polling, lost).await?;
    ensure!(answers.away < 100, "Redis was there: {answers:?}");

    let polling = place.poll();
    let folding = Folding::watch(&place.suite, &reader).await?;
    let lost = Instant::now();
    place.suite.redis.restart_empty().await?;
    folding.report("restarted empty", EVENTS).await?;
    place.is_whole("restarted empty", polling, lost).await?;

    let polling = place.poll();
    let lost = Instant::now();
    place.suite.redis.flush()?;
    let size = || -> Result<usize> { Ok(place.suite.redis.cli(&["dbsize"])?.trim().parse()?) };
    let there = eventually("a part is there", async || {
        let there = size().map_err(|e| format!("{e:#}"))?;
        (there > 300).then_some(there).ok_or(format!("{there}"))
    })
    .await?;
    reader.kill()?;
    eprintln!("killed the reader at {there} keys; {} are left", size()?);
    let reader = place.suite.start("reader").await?;
    place.is_whole("reader killed", polling, lost).await?;
    place.end(vec![reader]).await
}

#[tokio::test]
async fn t05_a_late_replica_takes_nothing_back() -> Result<()> {
    let Some(group) = Group::take(PAIR).await? else {
        return Ok(());
    };
    let Some((mut place, reader)) = Place::new("late-replica", Some(group.url()?)).await? else {
        return Ok(());
    };
    let (master, replica) = (group.masters()[0], group.replicas()[0]);
    // From here on the replica hears nothing, and cannot ask again.
    group.order("freeze", replica)?;
    group.ask(master, &["client", "kill", "type", "replica"])?;
    let api = place.apis[0].clone();
    place.jobs.go_on(&api).await?;
    let polling = place.poll();
    let folding = Folding::watch(&place.suite, &reader).await?;
    let lost = Instant::now();
    group.order("kill", master)?;
    group.order("thaw", replica)?;
    eventually("the replica leads", async || {
        let leads = group.masters() == [replica];
        leads.then_some(()).ok_or("not yet".to_owned())
    })
    .await?;
    eprintln!("the replica leads after {:.1?}", lost.elapsed());
    folding.report("late replica", 50).await?;
    place.is_whole("late replica", polling, lost).await?;
    place.end(vec![reader]).await
}

#[tokio::test]
async fn t05_a_cluster_that_loses_a_master_hides_no_job() -> Result<()> {
    let Some(group) = Group::take(SHARDS).await? else {
        return Ok(());
    };
    let Some((place, reader)) = Place::new("shards", Some(group.url()?)).await? else {
        return Ok(());
    };
    for verb in ["kill", "freeze"] {
        let master = group.masters()[0];
        let polling = place.poll();
        let lost = Instant::now();
        group.order(verb, master)?;
        eventually("three lead again", async || {
            let masters = group.masters();
            let three = masters.len() == 3 && !masters.contains(&master);
            three.then_some(()).ok_or(format!("{masters:?}"))
        })
        .await?;
        eprintln!(
            "{verb} {master}: three lead again after {:.1?}",
            lost.elapsed()
        );
        place
            .is_whole(&format!("{verb} {master}"), polling, lost)
            .await?;
        group.order(if verb == "kill" { "start" } else { "thaw" }, master)?;
        eventually("three follow again", async || {
            let replicas = group.replicas();
            (replicas.len() == 3)
                .then_some(())
                .ok_or(format!("{replicas:?}"))
        })
        .await?;
    }
    place.end(vec![reader]).await
}

#[tokio::test]
async fn t05_what_has_expired_is_gone_also_after_a_flush() -> Result<()> {
    let Some(mut suite) = Suite::new("expired").await? else {
        return Ok(());
    };
    suite.set("VMCTL_JOB_TTL", "3s");
    suite.set("VMCTL_SIMULATED_DURATION", "0s");
    let three = suite.start_three().await?;
    let api = suite.user(&three.server).await?;
    let id = api.create().await?;
    api.until(&id, "succeeded").await?;
    for flushed in [false, true] {
        if flushed {
            suite.redis.flush()?;
        }
        eventually("it is gone", async || {
            let answer = api.job(&id).await.map_err(|e| format!("{e:#}"))?;
            assert_known(flushed, &answer);
            (answer.status == 410).then_some(()).ok_or(answer.text)
        })
        .await?;
    }
    three.stop().await
}

/// An expired job is never said not to have been, nor, once it was gone, to be there again.
fn assert_known(flushed: bool, answer: &Answer) {
    let wrong = answer.status == 404 || (flushed && answer.status == 200);
    assert!(!wrong, "{answer:?}");
}
