//! Holding an answer back until a job has changed.

use std::time::Duration;

use tokio::time::{Instant, sleep_until};
use vmctl_api_types::JobId;
use vmctl_core::{partition::Partition, record::Record};

use crate::{
    app::App,
    edge::slot::Slot,
    error::ApiError,
    http::{access::Access, conditional::Tags},
    jobs::view,
};

/// How often a waiting request looks by itself, while the doorbell works and while it does not.
const LOOK_ATTACHED: Duration = Duration::from_secs(5);
const LOOK_DETACHED: Duration = Duration::from_millis(500);

/// After a ring the view may need a moment: first, longest and last look for the change.
const FIRST_LOOK: Duration = Duration::from_millis(1);
const LONGEST_LOOK: Duration = Duration::from_millis(500);
const LAST_LOOK: Duration = Duration::from_secs(10);

/// What is waited for.
pub(crate) enum Until {
    /// The job has ended.
    Terminal,
    /// The job differs from what these tags name.
    Changed(Tags),
}

impl Until {
    /// Says whether this record is it.
    pub fn is_met(&self, record: &Record) -> bool {
        match self {
            Self::Terminal => record.is_terminal(),
            Self::Changed(tags) => {
                record.is_terminal() || record.etag().is_none_or(|etag| !tags.contains(&etag))
            }
        }
    }
}

/// Waits at most `patience`, then returns the newest record. `None` when as many requests wait as
/// may: the caller answers with what it has.
pub(crate) async fn wait(
    app: &App,
    slot: &Slot,
    access: &Access,
    id: JobId,
    until: &Until,
    patience: Duration,
) -> Result<Option<Record>, ApiError> {
    let Some(_waiting) = slot.park(&app.waiters) else {
        return Ok(None);
    };
    let deadline = Instant::now() + patience;
    // Before the first look, so that no change falls between them.
    let mut bell = app.doorbell.listen(id);
    let mut pace = Pace::default();
    loop {
        // Read before the record, so that the record has at least this much.
        let folded = app.seen.reach(Partition::of(id)).offset();
        let record = view::find(app, access, id).await?;
        let over = Instant::now() >= deadline || app.stopping.is_cancelled();
        if over || until.is_met(&record) {
            return Ok(Some(record));
        }
        pace.looked(record.etag(), app.doorbell.latest(id) > folded);
        let next = pace.next(app.doorbell.is_attached());
        tokio::select! {
            () = bell.rung() => pace.rung(),
            () = sleep_until(deadline.min(Instant::now() + next)) => {}
            () = app.stopping.cancelled() => {}
        }
    }
}

/// How soon to look again.
pub(crate) struct Pace {
    idle: Duration,
    rung: Option<(Instant, Duration)>,
    etag: Option<String>,
}

impl Default for Pace {
    fn default() -> Self {
        Self::idle(LOOK_ATTACHED)
    }
}

impl Pace {
    /// Looks so often while nothing rings.
    pub fn idle(idle: Duration) -> Self {
        Self {
            idle,
            rung: None,
            etag: None,
        }
    }

    /// Notes a ring: there is something to see, now or in a moment.
    pub fn rung(&mut self) {
        self.rung = Some((Instant::now(), FIRST_LOOK));
    }

    /// As a ring, unless one is being followed up; says whether it was none.
    pub fn hurry(&mut self) -> bool {
        let idle = self.rung.is_none();
        if idle {
            self.rung();
        }
        idle
    }

    /// Notes a look. `pending` says that the log has an entry about this job that the view did not
    /// have yet; otherwise what was announced has been seen, or does not come.
    pub fn looked(&mut self, etag: Option<String>, pending: bool) {
        let changed = self.etag != etag;
        self.etag = etag;
        match self.rung {
            Some((at, _)) if at.elapsed() > LAST_LOOK => self.rung = None,
            Some(_) if pending => {}
            None if pending => self.rung(),
            _ if changed => self.rung = None,
            _ => {}
        }
    }

    /// Returns the time until the next look; the one after is later.
    pub fn next(&mut self, attached: bool) -> Duration {
        match &mut self.rung {
            Some((_, pause)) => {
                let now = *pause;
                *pause = (now * 2).min(LONGEST_LOOK);
                now
            }
            None if attached => self.idle,
            None => LOOK_DETACHED,
        }
    }
}
