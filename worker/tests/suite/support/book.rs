//! Jobs that do what their input says, step by step, and a book of what they did.
//!
//! Each step has one effect, under the job's id and the step's number. A run looks whether it is there,
//! works, makes it unless it has lost its delivery, and works a little more. So a run beside another one
//! makes the same effect twice, if nobody keeps them apart.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use serde_json::json;
use tokio::time::{Instant, sleep};
use vmctl_core::{JobId, children::Child};
use vmctl_worker::{CancelReason, Ctx, Handler, Outcome, Spawn};

use super::{error, wire::StepKey};

/// How long a step works before its effect, and after it.
const WORK: Duration = Duration::from_millis(20);

/// How a step ends once its effect is there. Behind the last one the job is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum End {
    Go,
    GoLater,
    /// Its first attempt fails.
    Retry,
    /// Its first run fails, if that is not the third attempt; a second run of the same command goes on.
    Flaky,
    Spawn,
    Fail,
}

/// One run of a handler.
#[derive(Debug, Clone)]
pub struct Entry {
    pub key: StepKey,
    pub at: Instant,
    pub was_cancelled: bool,
}

#[derive(Default)]
pub struct Book {
    pub entries: Vec<Entry>,
    /// How often each effect was made.
    pub made: BTreeMap<(JobId, u64), u32>,
}

impl Book {
    /// How often a step was run.
    pub fn runs(&self, key: StepKey) -> usize {
        self.entries.iter().filter(|e| e.key == key).count()
    }
}

/// The handler of such jobs, also of their children.
#[derive(Clone, Default)]
pub struct Planned(Arc<Mutex<Book>>);

impl Planned {
    pub fn book(&self) -> MutexGuard<'_, Book> {
        self.0.lock().unwrap()
    }

    /// Works; the answer if there is no time for the rest.
    async fn work(ctx: &Ctx) -> Option<Outcome> {
        tokio::select! {
            biased;
            () = ctx.stop().cancelled() => {}
            () = sleep(WORK) => {}
        }
        if ctx.lost().is_cancelled() {
            // Whatever it says now must not be heard.
            return Some(Outcome::Done(json!("lost")));
        }
        match ctx.cancel_reason() {
            Some(CancelReason::Requested(_)) => Some(Outcome::Cancelled),
            Some(_) => Some(again("stopped")),
            None => None,
        }
    }

    fn end(&self, ctx: &Ctx, plan: &[End], key: StepKey) -> Outcome {
        let step = key.3;
        let up_to = plan.iter().zip(0..=step);
        let failures = up_to.filter(|(end, _)| **end == End::Retry).count();
        let Some((end, _)) = plan.iter().zip(0..).find(|(_, n)| *n == step) else {
            return Outcome::Done(json!({"steps": step + 1}));
        };
        match end {
            End::Retry if usize::try_from(ctx.attempt()).unwrap() <= failures => again("planned"),
            End::Flaky if ctx.attempt() < 3 && self.book().runs(key) == 1 => again("flaky"),
            End::Go | End::Retry | End::Flaky => go(Duration::ZERO, step + 1),
            End::GoLater => go(Duration::from_secs(2), step + 1),
            End::Spawn => {
                let kind = "vm.delete".parse().unwrap();
                let input = json!({"vm_hostname": format!("lx{step}")});
                let child = Child::new(format!("c{step}"), kind, input);
                Outcome::Spawn(Spawn::all(vec![child], json!(step + 1)))
            }
            End::Fail => Outcome::Fail(error("planned")),
        }
    }
}

fn again(word: &str) -> Outcome {
    Outcome::Retry {
        after: None,
        error: error(word),
    }
}

fn go(after: Duration, step: u64) -> Outcome {
    Outcome::Continue {
        after,
        checkpoint: json!(step),
    }
}

#[async_trait]
impl Handler for Planned {
    async fn run(&self, ctx: Ctx) -> Outcome {
        let job = ctx.job().id;
        // A child has no plan: it is one step.
        let plan: Vec<End> = serde_json::from_value(ctx.job().input.clone()).unwrap_or_default();
        let step = ctx.checkpoint().unwrap_or(0);
        let entry = Entry {
            key: (job, ctx.epoch(), ctx.attempt(), step),
            at: Instant::now(),
            was_cancelled: ctx.cancel().is_cancelled(),
        };
        let key = entry.key;
        self.book().entries.push(entry);
        let is_there = self.book().made.contains_key(&(job, step));
        if let Some(outcome) = Self::work(&ctx).await {
            return outcome;
        }
        if !is_there {
            *self.book().made.entry((job, step)).or_default() += 1;
        }
        match Self::work(&ctx).await {
            Some(outcome) => outcome,
            None => self.end(&ctx, &plan, key),
        }
    }
}
