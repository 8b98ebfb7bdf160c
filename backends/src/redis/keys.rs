//! Names of keys.
//!
//! | key | type | holds |
//! |---|---|---|
//! | `{p17}:job:<id>` | hash | a record |
//! | `{p17}:hist:<id>` | hash | its history, by place in the log |
//! | `{p17}:lines:<id>` | hash | the newest lines of its log, by name, and `b`, their bytes |
//! | `{p17}:run:<id>:<epoch>:<attempt>:<seq>` | string | which call has taken a run |
//! | `{p17}:position` | hash | position, marks, oldest entry and life of a partition |
//! | `{p17}:live` | sorted set | live jobs by deadline |
//! | `{p17}:dead` | sorted set | dead jobs by when they failed |
//! | `{p17}:line:<length>:<project>:<key>` | hash | runs at a unique key of a project, since which offset they wait, and until when that counts |
//! | `{p17}:past` | sorted set | runs with keys that have ended, by when that is forgotten |
//! | `{p17}:heard` | sorted set | live jobs by when they were last heard of |
//! | `{p17}:ended` | sorted set | ended jobs by when they are forgotten |
//! | `{p17}:bad` | list | entries that could not be merged |
//! | `{p17}:lease` | string | the reader that holds the partition |
//! | `{ix:<project>}` | sorted set | a project's jobs, as `<created ms>:<id>` |
//! | `{ix:<project>}:over` | sorted set | the same, by when they are forgotten |
//! | `{ix:<project>}:active` | sorted set | runs that have not ended, by when they end by themselves |
//! | `{ix:<project>}:ended` | sorted set | runs that ended just now, by when that is forgotten |
//! | `{ix:<project>}:rate` | string | when all submissions of the rate may come again, in µs |
//! | `{ix:<project>}:holders:<key>` | hash | who holds a unique key, and how; when it was `freed` |
//! | `claim:<length>:<project>:<name>` | string | a claim |
//! | `readers` | sorted set | readers alive, until when |
//!
//! What is in braces is the hash tag of Redis Cluster: a script touches keys of one tag only.

use jiff::Timestamp;
use vmctl_core::{
    JobId,
    partition::Partition,
    store::{IndexKey, RunKey},
};

/// Makes keys, all with one prefix.
#[derive(Debug, Clone)]
pub struct Keys(pub String);

impl Keys {
    fn of(&self, partition: Partition, name: &str) -> String {
        format!("{}{{{partition}}}:{name}", self.0)
    }

    /// What the keys of a partition's records begin with.
    pub fn jobs(&self, partition: Partition) -> String {
        self.of(partition, "job:")
    }

    pub fn job(&self, id: JobId) -> String {
        format!("{}{id}", self.jobs(Partition::of(id)))
    }

    /// What the keys of a partition's histories begin with.
    pub fn histories(&self, partition: Partition) -> String {
        self.of(partition, "hist:")
    }

    pub fn history(&self, id: JobId) -> String {
        format!("{}{id}", self.histories(Partition::of(id)))
    }

    /// What the keys of the logs of a partition's jobs begin with.
    pub fn all_lines(&self, partition: Partition) -> String {
        self.of(partition, "lines:")
    }

    pub fn lines(&self, id: JobId) -> String {
        format!("{}{id}", self.all_lines(Partition::of(id)))
    }

    pub fn run(&self, run: &RunKey) -> String {
        let prefix = self.of(Partition::of(run.job), "run:");
        let RunKey {
            job,
            epoch,
            attempt,
            seq,
        } = run;
        format!("{prefix}{job}:{epoch}:{attempt}:{seq}")
    }

    pub fn position(&self, partition: Partition) -> String {
        self.of(partition, "position")
    }

    pub fn live(&self, partition: Partition) -> String {
        self.of(partition, "live")
    }

    pub fn dead(&self, partition: Partition) -> String {
        self.of(partition, "dead")
    }

    pub fn heard(&self, partition: Partition) -> String {
        self.of(partition, "heard")
    }

    pub fn ended_jobs(&self, partition: Partition) -> String {
        self.of(partition, "ended")
    }

    pub fn bad(&self, partition: Partition) -> String {
        self.of(partition, "bad")
    }

    pub fn past(&self, partition: Partition) -> String {
        self.of(partition, "past")
    }

    /// The length keeps `("a", "b:c")` and `("a:b", "c")` apart.
    pub fn line(&self, project: &str, key: &str) -> String {
        let prefix = self.of(Partition::of_project(project), "line:");
        format!("{prefix}{}:{project}:{key}", project.len())
    }

    pub fn lease(&self, partition: Partition) -> String {
        self.of(partition, "lease")
    }

    pub fn index(&self, project: &str) -> String {
        format!("{}{{ix:{project}}}", self.0)
    }

    pub fn index_over(&self, project: &str) -> String {
        format!("{}:over", self.index(project))
    }

    pub fn active(&self, project: &str) -> String {
        format!("{}:active", self.index(project))
    }

    pub fn ended(&self, project: &str) -> String {
        format!("{}:ended", self.index(project))
    }

    pub fn rate(&self, project: &str) -> String {
        format!("{}:rate", self.index(project))
    }

    pub fn holders(&self, project: &str, key: &str) -> String {
        format!("{}:holders:{key}", self.index(project))
    }

    /// The length keeps `("a", "b:c")` and `("a:b", "c")` apart.
    pub fn claim(&self, project: &str, name: &str) -> String {
        format!("{}claim:{}:{project}:{name}", self.0, project.len())
    }

    pub fn readers(&self) -> String {
        format!("{}readers", self.0)
    }
}

/// Writes a line of an index; lines of one project are in the order of their texts.
pub fn line(key: &IndexKey) -> String {
    let ms = milliseconds(key.created_at).max(0);
    format!("{ms:015}:{}", key.id)
}

/// Reads a line of an index.
pub fn parse_line(text: &str) -> Option<IndexKey> {
    let (ms, id) = text.split_once(':')?;
    Some(IndexKey {
        created_at: Timestamp::from_millisecond(ms.parse().ok()?).ok()?,
        id: id.parse().ok()?,
    })
}

/// Returns the milliseconds since the Unix epoch: at most 15 digits, which no script loses.
pub fn milliseconds(at: Timestamp) -> i64 {
    at.as_millisecond()
}
