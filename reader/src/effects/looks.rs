//! Looking at something again and again for a short while, because the view may be behind what was heard.
//!
//! What is looked at looks by itself, too, only less often: a look that is left out costs time and
//! nothing else. So nothing here holds anybody up, and nothing is remembered over a restart. While something is
//! looked at, every word about it makes the looks begin anew.

use std::{
    collections::HashMap,
    pin::pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::{sync::Notify, time::sleep};
use uuid::Uuid;
use vmctl_core::JobId;

use crate::metrics;

/// Looks at one thing after the newest word about it. The view may be behind the word by some of them.
const LOOKS: u32 = 9;

/// The first pause between two looks; each is twice the one before.
const FIRST: Duration = Duration::from_millis(10);

/// Things that are looked at at once; the others look by themselves.
const AT_ONCE: usize = 64;

/// What one look came to.
pub(super) enum Look {
    /// There is nothing more to look for.
    Over,
    /// Not yet, as far as the view knows. The next look is not before this.
    NotYet(Duration),
    /// The command with this id was published, and somebody goes on because of it.
    Woken(Uuid),
}

/// What the looks before have done.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Known {
    /// The command that was published already.
    pub woken: Option<Uuid>,
    /// Whether the job may have gone on because of it.
    pub answered: bool,
}

/// Series of looks, each at what concerns one job.
#[derive(Default)]
pub(super) struct Looks {
    /// The jobs that are looked at, each by one series, and what makes it begin anew.
    looking: Mutex<HashMap<JobId, Arc<Notify>>>,
}

impl Looks {
    fn looking(&self) -> MutexGuard<'_, HashMap<JobId, Arc<Notify>>> {
        // Every change under the lock is one statement.
        self.looking.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Looks until there is nothing more to look for, or long enough. Many calls for one job are one
    /// series, and none of them is forgotten while it runs.
    pub(super) async fn series<F: Future<Output = Look>>(
        &self,
        job: JobId,
        look: impl Fn(Known) -> F,
    ) {
        if let Some(series) = self.begin(job) {
            series.run(look).await;
        }
    }

    /// Begins a series; makes the one that runs begin anew instead, if there is one.
    fn begin(&self, job: JobId) -> Option<Series<'_>> {
        let mut looking = self.looking();
        if let Some(again) = looking.get(&job) {
            again.notify_one();
            return None;
        }
        if looking.len() >= AT_ONCE {
            metrics::add(metrics::EFFECTS, "not-woken", 1);
            return None;
        }
        let again = Arc::new(Notify::new());
        looking.insert(job, Arc::clone(&again));
        Some(Series {
            looks: self,
            job,
            again,
        })
    }
}

/// The looks at one job. It has a place as long as it lives.
struct Series<'a> {
    looks: &'a Looks,
    job: JobId,
    /// Told when there is a reason to look again.
    again: Arc<Notify>,
}

impl Series<'_> {
    /// Looks until the job has answered a wake-up, or the view had its time to know of the newest word.
    async fn run<F: Future<Output = Look>>(&self, look: impl Fn(Known) -> F) {
        let (mut pause, mut looks) = (FIRST, 0);
        let mut known = Known::default();
        loop {
            looks += 1;
            let mut least = FIRST;
            let mut is_over = looks >= LOOKS;
            match look(known).await {
                Look::Over => is_over = true,
                Look::NotYet(at_least) => least = FIRST.max(at_least),
                Look::Woken(command) => {
                    metrics::add(metrics::EFFECTS, "woken", 1);
                    // A later command of the job may be on its way into a tier: look what it says.
                    known = Known {
                        woken: Some(command),
                        answered: true,
                    };
                    (pause, looks, is_over) = (FIRST, 0, false);
                }
            }
            if is_over && self.ends() {
                return;
            }
            sleep(least).await;
            if !is_over {
                tokio::select! {
                    () = sleep(pause.saturating_sub(least)) => {
                        pause *= 2;
                        continue;
                    }
                    () = self.again.notified() => {}
                }
            }
            (pause, looks, known.answered) = (FIRST, 0, false);
        }
    }

    /// Gives its place back, unless there is a reason to look again: what comes later begins another
    /// series.
    fn ends(&self) -> bool {
        let mut looking = self.looks.looking();
        let mut again = pin!(self.again.notified());
        if again.as_mut().enable() {
            return false;
        }
        looking.remove(&self.job);
        true
    }
}

impl Drop for Series<'_> {
    fn drop(&mut self) {
        let mut looking = self.looks.looking();
        // By now another series may have begun.
        if looking
            .get(&self.job)
            .is_some_and(|again| Arc::ptr_eq(again, &self.again))
        {
            looking.remove(&self.job);
        }
    }
}
