//! Processor time of processes, from `/proc`. On a machine that others use it says more than the clock
//! on the wall.

use std::{fs, time::Duration};

/// Ticks of the kernel's clock in a second, as `/proc` counts them: the same on every Linux.
const TICKS: u64 = 100;

/// What processes have used so far.
pub(crate) struct Used(Vec<(&'static str, u32, Duration)>);

impl Used {
    /// Reads the clocks of processes; one that is gone is left out.
    pub(crate) fn by(processes: &[(&'static str, u32)]) -> Self {
        let used = processes.iter();
        Self(
            used.filter_map(|&(name, pid)| Some((name, pid, time(pid)?)))
                .collect(),
        )
    }

    /// Returns what each has used since.
    pub(crate) fn since(&self) -> Vec<(&'static str, Duration)> {
        let now = |&(name, pid, then): &(&'static str, u32, Duration)| {
            Some((name, time(pid)?.saturating_sub(then)))
        };
        self.0.iter().filter_map(now).collect()
    }
}

/// User and system time of a process.
fn time(pid: u32) -> Option<Duration> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name of the program, in brackets, may have spaces.
    let (_, fields) = stat.rsplit_once(") ")?;
    let mut ticks = fields
        .split(' ')
        .skip(11)
        .map_while(|f| f.parse::<u64>().ok());
    let ticks = ticks.next()? + ticks.next()?;
    Some(Duration::from_millis(ticks * 1000 / TICKS))
}

/// Resident memory of a process, in bytes.
pub(crate) fn resident(pid: u32) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kib: u64 = line.split_whitespace().next()?.parse().ok()?;
    Some(kib * 1024)
}
