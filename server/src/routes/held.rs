//! Answers that are held back until a job has changed or ended.

use vmctl_api_types::JobId;
use vmctl_core::record::Record;

use crate::{
    app::App,
    edge::slot::Slot,
    error::ApiError,
    http::{auth::Permitted, prefer::Prefer},
    jobs::wait::{self, Until},
};

/// Waits as long as the caller prefers and brings the record up to date. Returns the preferences that
/// were honoured: none to wait when as many requests wait as may.
pub(super) async fn hold(
    app: &App,
    slot: &Slot,
    caller: &Permitted,
    id: JobId,
    until: &Until,
    prefer: Prefer,
    record: &mut Record,
) -> Result<Prefer, ApiError> {
    let Some(patience) = prefer.wait.filter(|_| !until.is_met(record)) else {
        return Ok(prefer);
    };
    let newest = wait::wait(app, slot, &caller.access, id, until, patience).await?;
    Ok(match newest {
        Some(newest) => {
            *record = newest;
            prefer
        }
        None => prefer.without_wait(),
    })
}
