//! Reading one message again where it lies in the log.

use std::time::Duration;

use tokio::time::timeout;
use vmctl_core::{
    bus::{Log, LogStart},
    event::Event,
    kept::command_of,
    record::Winner,
};

/// How long the log may take to give one entry.
const READ: Duration = Duration::from_secs(5);

/// The log gave no entry in time.
pub(crate) struct Unread;

/// Reads the command that decides a job's state; `None` when that is no command, or the log does not have
/// it any more.
pub(crate) async fn command(log: &dyn Log, winner: &Winner) -> Result<Option<Event>, Unread> {
    let Some(offset) = winner.offset else {
        return Ok(None);
    };
    let read = async {
        let mut log = log.read(LogStart::Offset(offset)).await.ok()?;
        log.next_batch(1).await.ok()?.into_iter().next()
    };
    let entry = timeout(READ, read).await.ok().flatten().ok_or(Unread)?;
    let event = Event::parse(&entry.message.body).ok();
    Ok(event.and_then(|event| command_of(winner, event)))
}
