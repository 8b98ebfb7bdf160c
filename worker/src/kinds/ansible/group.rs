//! The process group of a playbook.

use std::io;

use rustix::process::{Pid, Signal, kill_process_group};
use tokio::process::Child;

/// A process group that is killed when this is dropped.
pub(super) struct Group(Pid);

impl Group {
    /// Returns the group that a child leads.
    pub fn of(child: &Child) -> io::Result<Self> {
        let id = child.id().and_then(|id| i32::try_from(id).ok());
        let pid = id.and_then(Pid::from_raw);
        pid.map(Self)
            .ok_or_else(|| io::Error::other("the process is gone already"))
    }

    /// Asks all of it to end.
    pub fn terminate(&self) {
        self.send(Signal::TERM);
    }

    fn send(&self, signal: Signal) {
        // A group that is gone already is what is wanted.
        let _ = kill_process_group(self.0, signal);
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        self.send(Signal::KILL);
    }
}
