//! Many streams that follow one job: what an event costs the server.

use std::{
    path::Path,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use reqwest::Response;
use tokio::{
    sync::mpsc,
    time::{sleep, timeout},
};
use vmctl_backends::rabbitmq::RabbitMq;
use vmctl_core::{JobState, bus::BusState, event::EventType};

use crate::{
    broker, load,
    programs::{self, Setup, Suite},
    report, services, streams,
};

/// Events of the job, after its submission.
const EVENTS: u32 = 200;

/// Time between two of them.
const PAUSE: Duration = Duration::from_millis(20);

/// Longest wait for the last event on all streams.
const PATIENCE: Duration = Duration::from_secs(60);

pub(crate) async fn measure(bin: &Path, watchers: usize) -> Result<()> {
    report::title("One job, many streams: what its events cost the server");
    let setup = Setup {
        name: "watchers",
        ..Setup::default()
    };
    let suite = Suite::start(bin, setup).await?;
    let token = suite.login().await?;
    let http = load::http(watchers)?;
    let job = load::post(&http, &suite.endpoint, &token).await?;
    let job = job.context("refused")?;
    report::command(&format!(
        "{watchers} times: GET {}/v1/jobs/{}/events with Accept: text/event-stream",
        suite.endpoint, job.id
    ));
    let (seen, mut arrivals) = mpsc::channel(watchers);
    for _ in 0..watchers {
        let stream = streams::follow(&http, &suite.endpoint, &token, &job.id).await?;
        tokio::spawn(watch(stream, seen.clone()));
    }
    let cpu = suite.cpu()?;
    let started = Instant::now();
    let spec = broker::job(job.id.parse()?, &job.project)?;
    let rabbit = RabbitMq::connect_lazy(services::amqp_config(&suite.broker)?);
    let publisher = rabbit.bus().publisher;
    let connected = || async { publisher.state() == BusState::Up };
    programs::eventually("the broker", connected).await?;
    for seq in 1..EVENTS {
        let event = broker::event(spec.clone(), EventType::Continued, JobState::Running, seq);
        publisher.publish(event.to_message()).await?;
        sleep(PAUSE).await;
    }
    let ended = Instant::now();
    let end = broker::event(spec, EventType::Succeeded, JobState::Succeeded, EVENTS);
    publisher.publish(end.to_message()).await?;
    let mut shown = 0;
    for _ in 0..watchers {
        let arrived = timeout(PATIENCE, arrivals.recv()).await;
        shown += arrived.context("no end")?.context("no stream is left")?;
    }
    ensure!(shown > 0, "no event was shown");
    let (late, all) = (ended.elapsed(), started.elapsed());
    report::text("events shown on all streams", &shown.to_string());
    report::text("  of so many", &(watchers * EVENTS as usize).to_string());
    report::text(
        "from the end to the last stream that showed it",
        &report::seconds(late),
    );
    report::text("all of it took", &report::seconds(all));
    report::cpu(&cpu.since(), 0);
    rabbit.shutdown().await;
    suite.stop().await
}

/// Reads a stream to its end and says how many events it showed.
async fn watch(mut stream: Response, seen: mpsc::Sender<usize>) {
    const FRAME: &[u8] = b"\nevent: ";
    let (mut events, mut text) = (0, vec![b'\n']);
    while let Ok(Some(bytes)) = stream.chunk().await {
        text.extend_from_slice(&bytes);
        events += text.windows(FRAME.len()).filter(|w| *w == FRAME).count();
        // What may be the beginning of the next one.
        text.drain(..text.len().saturating_sub(FRAME.len() - 1));
    }
    // Nobody asks any more: the measurement is over.
    let _ = seen.send(events).await;
}
