//! Whether the broker serves a subscription.
//!
//! A subscription outlives connections and waits for its queue, so that its stream says nothing about
//! whether anything can come. This does.

use std::fmt;

use tokio::{sync::watch, time::Instant};

/// Tells since when the broker serves a subscription; cheap to clone and to ask. Holds nothing of it.
#[derive(Clone)]
pub struct Attachment(watch::Receiver<Option<Instant>>);

impl Attachment {
    /// Returns since when, `None` while it does not: the connection or the queue is gone, it was stopped,
    /// or its stream was dropped.
    pub fn since(&self) -> Option<Instant> {
        // Whoever said it last may be gone.
        self.0.has_changed().ok()?;
        *self.0.borrow()
    }
}

impl fmt::Debug for Attachment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Attachment").field(&self.since()).finish()
    }
}

/// The backend's side: nothing is attached until it says so, nor after it was dropped.
#[derive(Debug)]
pub struct Attached(watch::Sender<Option<Instant>>);

impl Default for Attached {
    fn default() -> Self {
        Self(watch::Sender::new(None))
    }
}

impl Attached {
    /// Returns what tells.
    pub fn attachment(&self) -> Attachment {
        Attachment(self.0.subscribe())
    }

    /// The broker serves it, from now on or still.
    pub fn begin(&self) {
        self.0.send_modify(|since| {
            since.get_or_insert_with(Instant::now);
        });
    }

    /// The broker does not serve it.
    pub fn end(&self) {
        self.0.send_replace(None);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn it_lasts_from_the_first_word_to_the_last_and_not_longer_than_its_backend() {
        let attached = Attached::default();
        let attachment = attached.attachment();
        assert_eq!(attachment.since(), None);
        attached.begin();
        let since = Instant::now();
        tokio::time::advance(Duration::from_secs(1)).await;
        attached.begin();
        assert_eq!(attachment.since(), Some(since));
        attached.end();
        assert_eq!(attachment.since(), None);
        attached.begin();
        assert!(attachment.since().is_some());
        drop(attached);
        assert_eq!(attachment.since(), None);
    }
}
