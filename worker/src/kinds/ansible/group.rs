//! The processes of a playbook: its group, and what has left the group.
//!
//! Ansible's workers and what a task puts into the background may lead sessions of their own. All of them
//! have the environment of the program that was started, so a mark in it finds them. What runs as another
//! user cannot be ended by this process.

use std::{fs, io, path::Path};

use rustix::process::{Pid, Signal, kill_process, kill_process_group};
use tokio::process::{Child, Command};

/// The variable that marks the processes of a run.
const MARK: &str = "ANSIBLE_PLAYBOOK_RUN";

/// How often it is looked for processes that were forked by those that were just killed.
const ROUNDS: u32 = 10;

/// All processes of a playbook, which are killed when this is dropped.
pub(super) struct Group {
    leader: Pid,
    /// What stands in the environment of each.
    mark: String,
}

impl Group {
    /// Starts a command as the leader of a group. `mark` is its own alone.
    pub fn start(command: &mut Command, mark: &Path) -> io::Result<(Child, Self)> {
        command.process_group(0).env(MARK, mark);
        let child = command.spawn()?;
        let id = child.id().and_then(|id| i32::try_from(id).ok());
        let leader = id
            .and_then(Pid::from_raw)
            .ok_or_else(|| io::Error::other("the process is gone already"))?;
        let mark = format!("{MARK}={}", mark.display());
        Ok((child, Self { leader, mark }))
    }

    /// Asks the group to end.
    pub fn terminate(&self) {
        self.send(Signal::TERM);
    }

    /// Ends what is left, inside the group and outside of it.
    pub fn kill(&self) {
        self.send(Signal::KILL);
        for _ in 0..ROUNDS {
            let mut found = false;
            for pid in self.marked() {
                // One that is gone already is what is wanted.
                let _ = kill_process(pid, Signal::KILL);
                found = true;
            }
            if !found {
                return;
            }
        }
    }

    fn send(&self, signal: Signal) {
        // A group that is gone already is what is wanted.
        let _ = kill_process_group(self.leader, signal);
    }

    /// Finds the processes with the mark; none where the system does not tell.
    fn marked(&self) -> Vec<Pid> {
        let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
        entries
            .filter_map(|entry| Pid::from_raw(entry.file_name().to_str()?.parse().ok()?))
            .filter(|pid| self.is_marked(*pid))
            .collect()
    }

    fn is_marked(&self, pid: Pid) -> bool {
        // Of processes of others it cannot be read.
        let environment = fs::read(format!("/proc/{}/environ", pid.as_raw_nonzero()));
        let variables = environment.unwrap_or_default();
        variables
            .split(|byte| *byte == 0)
            .any(|variable| variable == self.mark.as_bytes())
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        self.kill();
    }
}
