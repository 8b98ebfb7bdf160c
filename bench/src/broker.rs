//! What the broker can do by itself.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result};
use vmctl_backends::rabbitmq::RabbitMq;
use vmctl_core::{
    JobId, JobState, Kind,
    bus::{Message, Publisher},
    clock::{Clock as _, SystemClock, add, new_job_id, new_uuid},
    event::{Caller, Event, EventData, EventType, JobSpec},
    topology::Topology,
};

use crate::{cpu::Used, load::Sample, programs, report, services};

/// What the rest is compared with.
pub(crate) struct Ceiling {
    pub per_second: f64,
    pub confirm_p50: Duration,
}

/// Publishes the message that a submission publishes, as fast as confirms allow.
pub(crate) async fn ceiling(span: Duration) -> Result<Ceiling> {
    report::title("The ceiling: confirmed publishes, same topology, 32 channels, nothing else");
    let vhost = services::vhost_name("ceiling");
    let url = services::vhost(&vhost)?;
    report::command("vmctl-bench: 32 publishers on one connection, each waits for its confirm");
    let rabbit = RabbitMq::connect_lazy(services::amqp_config(&url)?);
    let bus = rabbit.bus();
    let kind: Kind = "vm.create".parse()?;
    programs::eventually("the broker", || async {
        bus.admin.declare(&Topology::new([&kind])).await.is_ok()
    })
    .await?;

    let one = publish(&bus.publisher, 1, Duration::from_secs(3)).await?;
    report::latency("one confirm at a time", &one);
    let cpu = Used::by(&services::processes()?);
    let many = publish(&bus.publisher, 32, span).await?;
    report::rate("confirmed publishes, 32 channels", many.per_second());
    report::latency("  confirm", &many);
    report::cpu(&cpu.since(), many.len());
    rabbit.shutdown().await;
    services::remove_vhost(&vhost)?;
    Ok(Ceiling {
        per_second: many.per_second(),
        confirm_p50: one.quantile(0.5),
    })
}

async fn publish(publisher: &Arc<dyn Publisher>, tasks: usize, span: Duration) -> Result<Sample> {
    let started = Instant::now();
    let mut set = tokio::task::JoinSet::new();
    for _ in 0..tasks {
        let publisher = Arc::clone(publisher);
        set.spawn(async move {
            let mut times = Vec::new();
            while started.elapsed() < span {
                let message = submission()?;
                let start = Instant::now();
                publisher.publish(message).await?;
                times.push(start.elapsed());
            }
            anyhow::Ok(times)
        });
    }
    let mut sample = Sample::default();
    while let Some(times) = set.join_next().await {
        sample.extend(times.context("a publisher panicked")??);
    }
    sample.elapsed = started.elapsed();
    Ok(sample)
}

fn submission() -> Result<Message> {
    let clock = SystemClock;
    let job = job(new_job_id(&clock), "0123456789abcdef0123456789abcdef")?;
    Ok(event(job, EventType::Submitted, JobState::Queued, 0).to_message())
}

/// A job as the server would submit it.
pub(crate) fn job(id: JobId, project: &str) -> Result<JobSpec> {
    let clock = SystemClock;
    let now = clock.now();
    let caller = Caller {
        user_id: "0123456789abcdef0123456789abcdef".into(),
        user_name: "joe".into(),
        project_id: project.into(),
        domain_id: "default".into(),
        roles: vec!["member".into(), "reader".into()],
        request_id: Some(new_uuid(&clock).to_string()),
    };
    Ok(JobSpec {
        max_attempts: 5,
        fp: format!("sha256:{}", "0".repeat(64)),
        ..JobSpec::new(
            id,
            "vm.create".parse()?,
            crate::load::input(),
            now,
            add(now, Duration::from_secs(86_400)),
            caller,
        )
    })
}

/// What happens to a job, as a worker would say it.
pub(crate) fn event(job: JobSpec, what: EventType, state: JobState, seq: u32) -> Event {
    let clock = SystemClock;
    let data = EventData {
        seq,
        ..EventData::new(state, job)
    };
    Event::new(new_uuid(&clock), what, "/bench", clock.now(), data)
}
