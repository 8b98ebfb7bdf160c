//! The topology, as data: `data/topology.toml`, built in.
//!
//! Both buses declare the same specifications, so that what passes on memory means something for
//! RabbitMQ. Structural arguments stand here and nowhere else; they are part of a queue's identity
//! on the broker, and a difference is drift.

mod arguments;

use std::{fmt, str::FromStr, sync::LazyLock, time::Duration};

use serde::{Deserialize, Serialize};
use vmctl_api_types::Kind;

pub use arguments::Argument;

/// Every durable message.
pub const EXCHANGE_JOBS: &str = "jobs";
/// Where delay tiers dead-letter to.
pub const EXCHANGE_READY: &str = "jobs.ready";
/// Where work queues dead-letter to.
pub const EXCHANGE_DLX: &str = "jobs.dlx";
/// Progress.
pub const EXCHANGE_TICK: &str = "jobs.tick";
/// To every worker at once.
pub const EXCHANGE_CONTROL: &str = "jobs.control";
/// The log.
pub const QUEUE_LOG: &str = "jobs.log";
/// Flat reports of simple workers, until the events that they mean are published.
pub const QUEUE_REPORTS: &str = "jobs.reports";
/// Commands of jobs that wait for their turn.
pub const QUEUE_TURN: &str = "jobs.turn";
/// Ends of jobs that something must follow.
pub const QUEUE_EFFECTS: &str = "jobs.effects";
/// What needs a person.
pub const QUEUE_DEAD: &str = "jobs.dead";

/// A fixed delay. One queue with one TTL for each, because messages of different TTL in one queue
/// hold each other up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Tier {
    /// One second.
    S1,
    /// Five seconds.
    S5,
    /// Fifteen seconds.
    S15,
    /// One minute.
    M1,
    /// Five minutes.
    M5,
    /// Fifteen minutes.
    M15,
    /// One hour.
    H1,
    /// Six hours.
    H6,
}

impl Tier {
    /// All tiers, shortest first.
    pub const ALL: [Self; 8] = [
        Self::S1,
        Self::S5,
        Self::S15,
        Self::M1,
        Self::M5,
        Self::M15,
        Self::H1,
        Self::H6,
    ];

    /// Returns how long it holds a message.
    pub const fn duration(self) -> Duration {
        Duration::from_secs(match self {
            Self::S1 => 1,
            Self::S5 => 5,
            Self::S15 => 15,
            Self::M1 => 60,
            Self::M5 => 300,
            Self::M15 => 900,
            Self::H1 => 3600,
            Self::H6 => 21_600,
        })
    }

    /// Returns the word in queue names and routing keys.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::S1 => "1s",
            Self::S5 => "5s",
            Self::S15 => "15s",
            Self::M1 => "1m",
            Self::M5 => "5m",
            Self::M15 => "15m",
            Self::H1 => "1h",
            Self::H6 => "6h",
        }
    }

    /// Returns the largest tier that does not exceed `delay`, so that a message is never late by
    /// more than its last hop; `None` below the smallest.
    pub fn at_most(delay: Duration) -> Option<Self> {
        Self::ALL
            .into_iter()
            .rev()
            .find(|tier| tier.duration() <= delay)
    }
}

impl fmt::Display for Tier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// All that a process declares.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Topology {
    /// Exchanges, before the queues that are bound to them.
    pub exchanges: Vec<ExchangeSpec>,
    /// Queues, with their bindings.
    pub queues: Vec<QueueSpec>,
}

/// One exchange.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ExchangeSpec {
    /// Its name.
    pub name: String,
    /// How it routes.
    #[serde(rename = "type")]
    pub exchange_type: ExchangeType,
    /// Where a message goes that no queue is bound for.
    #[serde(default)]
    pub alternate: Option<String>,
}

/// How an exchange routes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ExchangeType {
    /// By pattern.
    Topic,
    /// To every queue.
    Fanout,
}

/// One queue.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct QueueSpec {
    /// Its name.
    pub name: String,
    /// How the broker keeps it.
    pub queue_type: QueueType,
    /// How long a message stays before it is dead-lettered or dropped.
    pub message_ttl: Option<Duration>,
    /// Where what it gives up goes.
    pub dead_letter_exchange: Option<String>,
    /// Whether giving up is itself confirmed (`at-least-once`).
    pub dead_letter_at_least_once: bool,
    /// What happens at `max_length`.
    pub overflow: Option<Overflow>,
    /// How often a message may come back before it is given up.
    pub delivery_limit: Option<u32>,
    /// How many messages it may hold.
    pub max_length: Option<u64>,
    /// How many bytes it may hold.
    pub max_length_bytes: Option<u64>,
    /// How long a stream keeps its entries.
    pub max_age: Option<Duration>,
    /// Size of a stream's segments.
    pub segment_bytes: Option<u64>,
    /// After how long without a consumer it is deleted.
    pub expires: Option<Duration>,
    /// What it is bound to.
    pub bindings: Vec<BindingSpec>,
}

/// How the broker keeps a queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum QueueType {
    /// Replicated, on disk.
    Quorum,
    /// Replicated log; entries stay when they are read.
    Stream,
    /// On one node; may lose what it holds.
    Classic,
}

impl QueueType {
    /// Returns the broker's word (`x-queue-type`).
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Quorum => "quorum",
            Self::Stream => "stream",
            Self::Classic => "classic",
        }
    }
}

/// What happens to a full queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Overflow {
    /// The publisher gets a nack.
    RejectPublish,
    /// The oldest message is dropped, or dead-lettered.
    DropHead,
}

impl Overflow {
    /// Returns the broker's word (`x-overflow`).
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::RejectPublish => "reject-publish",
            Self::DropHead => "drop-head",
        }
    }
}

/// One binding of a queue.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BindingSpec {
    /// The exchange.
    pub exchange: String,
    /// The pattern.
    pub key: String,
}

/// Returns the name of a kind's work queue.
pub fn work_queue(kind: &Kind) -> String {
    format!("work.{kind}")
}

/// Returns the name of a tier's queue.
pub fn delay_queue(tier: Tier) -> String {
    format!("jobs.delay.{tier}")
}

impl Topology {
    /// Returns everything that is shared, and the work queues of these kinds.
    pub fn new<'a>(kinds: impl IntoIterator<Item = &'a Kind>) -> Self {
        let file = &*FILE;
        let mut queues = Vec::new();
        let kinds: Vec<_> = kinds.into_iter().collect();
        for template in &file.queue {
            if template.name.contains("{domain}") {
                queues.extend(kinds.iter().map(|kind| {
                    template.fill(|t| {
                        t.replace("{domain}", kind.domain())
                            .replace("{action}", kind.action())
                    })
                }));
            } else if template.name.contains("{tier}") {
                queues.extend(
                    Tier::ALL
                        .iter()
                        .map(|tier| template.fill(|t| t.replace("{tier}", tier.as_str()))),
                );
            } else if !template.name.contains("{consumer}") {
                queues.push(template.fill(str::to_owned));
            }
        }
        Self {
            exchanges: file.exchange.clone(),
            queues,
        }
    }

    /// Returns the queue in which one process gets progress.
    pub fn tick_queue(consumer: &str) -> QueueSpec {
        Self::of_consumer("jobs.tick.{consumer}", consumer)
    }

    /// Returns the queue in which one worker gets control messages.
    pub fn control_queue(consumer: &str) -> QueueSpec {
        Self::of_consumer("jobs.control.{consumer}", consumer)
    }

    fn of_consumer(name: &str, consumer: &str) -> QueueSpec {
        let template = FILE.queue.iter().find(|q| q.name == name);
        #[expect(clippy::expect_used, reason = "both names stand in the built-in file")]
        let template = template.expect("the built-in topology has a queue for each process");
        template.fill(|t| t.replace("{consumer}", consumer))
    }

    /// Finds a queue by name.
    pub fn queue(&self, name: &str) -> Option<&QueueSpec> {
        self.queues.iter().find(|q| q.name == name)
    }
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct TopologyFile {
    exchange: Vec<ExchangeSpec>,
    queue: Vec<QueueTemplate>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct QueueTemplate {
    name: String,
    #[serde(rename = "type")]
    queue_type: QueueType,
    message_ttl: Option<String>,
    dead_letter_exchange: Option<String>,
    dead_letter_strategy: Option<String>,
    overflow: Option<Overflow>,
    delivery_limit: Option<u32>,
    max_length: Option<u64>,
    max_length_bytes: Option<u64>,
    max_age: Option<String>,
    segment_bytes: Option<u64>,
    expires: Option<String>,
    bindings: Vec<BindingSpec>,
}

impl QueueTemplate {
    fn fill(&self, replace: impl Fn(&str) -> String) -> QueueSpec {
        let duration = |text: &Option<String>| text.as_deref().and_then(|t| age(&replace(t)).ok());
        QueueSpec {
            name: replace(&self.name),
            queue_type: self.queue_type,
            message_ttl: duration(&self.message_ttl),
            dead_letter_exchange: self.dead_letter_exchange.clone(),
            dead_letter_at_least_once: self.dead_letter_strategy.as_deref()
                == Some("at-least-once"),
            overflow: self.overflow,
            delivery_limit: self.delivery_limit,
            max_length: self.max_length,
            max_length_bytes: self.max_length_bytes,
            max_age: duration(&self.max_age),
            segment_bytes: self.segment_bytes,
            expires: duration(&self.expires),
            bindings: self
                .bindings
                .iter()
                .map(|binding| BindingSpec {
                    exchange: binding.exchange.clone(),
                    key: replace(&binding.key),
                })
                .collect(),
        }
    }
}

/// Reads `30s`, `5m`, `24h`, `14d`.
fn age(text: &str) -> Result<Duration, String> {
    let (number, unit) = text.split_at(text.len().saturating_sub(1));
    let number = u64::from_str(number).map_err(|e| format!("{text:?}: {e}"))?;
    let unit = match unit {
        "s" => 1,
        "m" => 60,
        "h" => 3600,
        "d" => 86_400,
        _ => return Err(format!("{text:?} has no unit of s, m, h, d")),
    };
    Ok(Duration::from_secs(number * unit))
}

static FILE: LazyLock<TopologyFile> = LazyLock::new(|| {
    #[expect(
        clippy::expect_used,
        reason = "the file is built in and a test parses it"
    )]
    toml::from_str(include_str!("../data/topology.toml")).expect("the built-in topology parses")
});

#[cfg(test)]
mod tests {
    use super::*;

    fn topology() -> Topology {
        Topology::new(&["vm.create".parse().unwrap(), "vm.delete".parse().unwrap()])
    }

    #[test]
    fn a_kind_gets_one_work_queue() {
        let topology = topology();
        let work = topology.queue("work.vm.create").unwrap();
        assert_eq!(work.queue_type, QueueType::Quorum);
        assert_eq!(work.delivery_limit, Some(5));
        assert_eq!(work.bindings[0].key, "job.vm.create.#");
        assert_eq!(work.bindings[1].key, "delay.*.job.vm.create.#");
        assert!(topology.queue("work.vm.delete").is_some());
    }

    #[test]
    fn every_tier_has_its_queue_and_its_ttl() {
        let topology = topology();
        for tier in Tier::ALL {
            let queue = topology.queue(&format!("jobs.delay.{tier}")).unwrap();
            assert_eq!(queue.message_ttl, Some(tier.duration()));
            assert!(queue.dead_letter_at_least_once);
            assert_eq!(queue.overflow, Some(Overflow::RejectPublish));
        }
    }

    #[test]
    fn no_queue_that_only_looks_may_refuse_a_publish() {
        for queue in topology().queues {
            let refuses = queue.overflow == Some(Overflow::RejectPublish);
            // What these hold, nobody else takes.
            let may = ["work.", "jobs.delay.", QUEUE_REPORTS, QUEUE_TURN]
                .iter()
                .any(|name| queue.name.starts_with(name));
            assert_eq!(refuses, may, "{}", queue.name);
        }
    }

    #[test]
    fn no_template_is_left_unfilled_and_every_duration_parses() {
        let mut queues = topology().queues;
        queues.push(Topology::tick_queue("reader-1"));
        queues.push(Topology::control_queue("worker-1"));
        assert_eq!(queues[queues.len() - 2].name, "jobs.tick.reader-1");
        assert_eq!(queues[queues.len() - 1].name, "jobs.control.worker-1");
        for queue in &queues {
            assert!(!format!("{queue:?}").contains('{') || !queue.name.contains('{'));
            assert!(queue.bindings.iter().all(|b| !b.key.contains('{')));
        }
        for template in &FILE.queue {
            for text in [&template.message_ttl, &template.max_age, &template.expires]
                .into_iter()
                .flatten()
            {
                assert!(age(&text.replace("{tier}", "6h")).is_ok(), "{text}");
            }
        }
    }

    #[test]
    fn the_tier_below_is_taken() {
        assert_eq!(Tier::at_most(Duration::from_millis(999)), None);
        assert_eq!(Tier::at_most(Duration::from_secs(1)), Some(Tier::S1));
        assert_eq!(Tier::at_most(Duration::from_secs(14)), Some(Tier::S5));
        assert_eq!(Tier::at_most(Duration::from_secs(86_400)), Some(Tier::H6));
    }
}
