//! The last job that was submitted from this account, for `@last`. Losing it costs nothing.

use std::path::Path;

use vmctl_api_types::JobId;

use crate::private_file;

/// Remembers a job. A file that cannot be written is not worth a failed command.
pub fn remember(path: &Path, id: JobId) -> bool {
    private_file::write(path, &format!("{id}\n")).is_ok()
}

/// Returns the remembered job.
pub fn last(path: &Path) -> Option<JobId> {
    private_file::read(path).ok()??.trim().parse().ok()
}
