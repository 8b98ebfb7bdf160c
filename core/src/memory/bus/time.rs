//! The timer: one task that lets things become due while nobody calls.

use std::sync::{Arc, PoisonError, Weak};

use tokio::{sync::Notify, task::JoinHandle, time::Instant};

use super::{Shared, broker::Broker};

/// What the timer of a broker is waiting for.
#[derive(Default)]
pub(super) struct Timer {
    task: Option<JoinHandle<()>>,
    armed: Option<Instant>,
}

/// Sees to it that the timer wakes for what is due next.
///
/// Outside a runtime nobody can wait, so things become due at the next call.
pub(super) fn arm(shared: &Arc<Shared>, broker: &mut Broker) {
    let Some(due) = broker.due() else {
        return;
    };
    let timer = broker.timer();
    // The runtime that it ran on may be gone.
    let runs = timer.task.as_ref().is_some_and(|task| !task.is_finished());
    if runs && timer.armed.is_some_and(|armed| armed <= due) {
        return;
    }
    timer.armed = Some(due);
    if runs {
        shared.alarm.notify_one();
    } else if let Ok(runtime) = tokio::runtime::Handle::try_current() {
        let alarm = Arc::clone(&shared.alarm);
        timer.task = Some(runtime.spawn(keep_time(Arc::downgrade(shared), alarm)));
    }
}

async fn keep_time(shared: Weak<Shared>, alarm: Arc<Notify>) {
    while let Some(shared) = shared.upgrade() {
        let due = {
            let mut broker = shared.broker.lock().unwrap_or_else(PoisonError::into_inner);
            broker.advance(Instant::now());
            let due = broker.due();
            broker.timer().armed = due;
            due
        };
        drop(shared);
        match due {
            Some(due) if due > Instant::now() => {
                tokio::select! {
                    () = tokio::time::sleep_until(due) => {}
                    () = alarm.notified() => {}
                }
            }
            // There was too much for one go; others get the lock first.
            Some(_) => tokio::task::yield_now().await,
            None => alarm.notified().await,
        }
    }
}
