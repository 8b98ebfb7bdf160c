//! `vmctl admin queues`: what waits on the broker.

use vmctl_api_types::{JobState, QueueInfo, QueueState};

use crate::{
    app::App,
    error::CliError,
    exit::Exit,
    output::{Field, Tone},
};

/// Runs the command.
pub fn run(app: &App) -> Result<Exit, CliError> {
    let api = app.authenticated()?;
    let queues = app.block_on(api.queues())??;
    if app.out.is_json() {
        app.out.json(&queues.raw)?;
    } else {
        app.out.table(
            &["QUEUE", "STATE", "READY", "CONSUMERS", "LIMIT"],
            queues.value.items.iter().map(row),
        )?;
    }
    Ok(Exit::Ok)
}

fn row(queue: &QueueInfo) -> [Field; 5] {
    let number = |n: Option<u64>| n.map_or_else(|| "-".to_owned(), |n| n.to_string());
    let tone = Tone::of(match queue.state {
        QueueState::Present => JobState::Succeeded,
        QueueState::Missing => JobState::Failed,
        QueueState::Unknown => JobState::Retrying,
    });
    [
        Field::from(queue.name.as_str()),
        Field::toned(queue.state.as_str(), tone),
        Field::from(number(queue.ready)),
        Field::from(number(queue.consumers.map(u64::from))),
        Field::from(number(queue.max_length)),
    ]
}
