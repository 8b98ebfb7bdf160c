//! The view is cut into partitions by hash of the job id.
//!
//! A partition is the unit of position, of ownership among readers, and of atomic writes: on Redis
//! it is the hash tag of every key that belongs to it, so that one script may touch them together
//! on a single Redis and on Redis Cluster alike.

use std::fmt;

use vmctl_api_types::JobId;

/// How many partitions there are. Changing it needs an empty view.
pub const PARTITIONS: u8 = 64;

/// One part of the view.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Partition(u8);

impl Partition {
    /// Returns the partition of a job.
    pub fn of(id: JobId) -> Self {
        Self::of_bytes(id.as_uuid().as_bytes())
    }

    /// Returns the partition in which the lines of a project are (see [`crate::turn`]).
    pub fn of_project(project: &str) -> Self {
        Self::of_bytes(project.as_bytes())
    }

    fn of_bytes(bytes: &[u8]) -> Self {
        // FNV-1a: the same on every platform and in every version, unlike the standard hasher.
        let hash = bytes.iter().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
            (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
        });
        // The high bits of FNV-1a mix best.
        let [high, ..] = hash.to_be_bytes();
        Self(high % PARTITIONS)
    }

    /// Returns the partition of that number, if there is one.
    pub fn new(number: u8) -> Option<Self> {
        (number < PARTITIONS).then_some(Self(number))
    }

    /// Returns all of them.
    pub fn all() -> impl DoubleEndedIterator<Item = Self> + ExactSizeIterator {
        (0..PARTITIONS).map(Self)
    }

    /// Returns its number, as an index.
    pub fn index(self) -> usize {
        usize::from(self.0)
    }
}

impl fmt::Display for Partition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "p{}", self.0)
    }
}

impl fmt::Debug for Partition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::{SystemClock, new_job_id};

    #[test]
    fn ids_drawn_in_a_row_spread_over_all_partitions() {
        let mut counts = [0_u32; PARTITIONS as usize];
        for _ in 0..64 * 200 {
            counts[Partition::of(new_job_id(&SystemClock)).index()] += 1;
        }
        assert!(
            counts.iter().all(|&n| (100..320).contains(&n)),
            "{counts:?}"
        );
    }

    #[test]
    fn a_partition_never_changes() {
        let id = "0198f2a4-7c1e-7a00-8abc-1f2e3d4c5b6a".parse().unwrap();
        assert_eq!(Partition::of(id).to_string(), "p4");
    }
}
