//! The routing slip: where a flow stands. Pure; it is the flow's checkpoint.

use std::{collections::BTreeMap, time::Duration};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use vmctl_core::{
    JobError, JobId, Kind,
    children::{Child, child_id},
    clock,
    flow::{
        Step, Undo,
        reference::{MAX_RESOLVED, Unresolved, holds},
        resolve_input,
    },
};

use super::super::failure;
use crate::ChildOutcome;

/// Largest slip, in bytes of JSON: a message holds it beside the job itself.
const MAX_SLIP: usize = 128 * 1024;

/// The part of a flow's time that is kept for undoing, and its bound.
const KEPT: (u32, Duration) = (5, Duration::from_secs(3600));

/// The part of a flow's time before its deadline at which it ends by itself, and its bound.
const LAST: (u32, Duration) = (20, Duration::from_secs(30));

/// Where a flow stands.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Slip {
    /// All steps, as they were when the flow began.
    steps: Vec<Step>,
    /// Which step is next, or is being run.
    at: usize,
    /// What the steps before have left, by name.
    done: BTreeMap<String, Done>,
    /// The steps that were begun, with what takes them back.
    begun: Vec<Begun>,
    /// Whether nothing is undone any more.
    #[serde(default)]
    pub is_past_pivot: bool,
    /// How often the step has failed, past the pivot.
    #[serde(default)]
    pub tries: u32,
    /// No step is begun after this time.
    pub forward_until: Timestamp,
    /// The flow ends by itself at this time.
    pub end: Timestamp,
    /// The way back, once it has begun.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub back: Option<Back>,
}

/// What a step has left.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Done {
    job_id: JobId,
    input: Value,
    output: Value,
}

/// A step that may have done something.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Begun {
    pub step: String,
    /// Its references are followed already; `None` when nothing takes the step back.
    undo: Option<Undo>,
}

/// The way back.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Back {
    /// Why.
    pub failure: JobError,
    /// Whether somebody wanted it.
    pub cancelled: bool,
    /// Whether there was something to undo.
    pub begun: bool,
    /// Whether something stays as it is, because the pivot is passed.
    pub remains: bool,
    /// What is left to undo; the last one is next.
    pub left: Vec<Begun>,
    /// How often the undo that is next has failed.
    pub tries: u32,
}

/// What comes after a step.
#[derive(Debug)]
pub(super) enum Next {
    Step(Child),
    Done(Value),
    Broken(JobError),
}

impl Slip {
    /// Begins. Where a step can be undone, a fifth of the time and at most an hour is kept for that.
    pub fn begin(steps: Vec<Step>, now: Timestamp, deadline: Timestamp) -> Self {
        let total = crate::author::until(now, deadline);
        let part = |(share, most): (u32, Duration)| (total / share).min(most);
        let last = part(LAST);
        let kept = if steps.iter().any(|step| step.undo.is_some()) {
            part(KEPT).max(last)
        } else {
            last
        };
        Self {
            steps,
            at: 0,
            done: BTreeMap::new(),
            begun: Vec::new(),
            is_past_pivot: false,
            tries: 0,
            forward_until: clock::add(now, total.saturating_sub(kept)),
            end: clock::add(now, total.saturating_sub(last)),
            back: None,
        }
    }

    pub fn checkpoint(&self) -> Value {
        json!(self)
    }

    /// Returns the number of the step that is being run, from 1, and how many there are.
    pub fn place(&self) -> (u32, u32) {
        let count = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
        (count(self.at + 1), count(self.steps.len()))
    }

    /// The step that was being run has succeeded.
    pub fn succeeded(&mut self, child: &ChildOutcome) {
        let Some(step) = self.steps.get(self.at) else {
            return;
        };
        let done = self.done.entry(step.name.clone()).or_insert_with(|| Done {
            job_id: child.id,
            input: Value::Null,
            output: Value::Null,
        });
        done.job_id = child.id;
        done.output = child.output.clone().unwrap_or_default();
        self.is_past_pivot |= step.pivot;
        self.at += 1;
        self.tries = 0;
    }

    /// Finds the next step that takes part.
    pub fn next(&mut self, input: &Value, flow: JobId, epoch: u32) -> Next {
        if self.checkpoint().to_string().len() > MAX_SLIP {
            return Next::Broken(failure(
                "outputs-too-large",
                "the outputs of the steps do not fit into a message",
            ));
        }
        loop {
            let document = json!({"input": input, "done": self.done});
            let Some(step) = self.steps.get(self.at) else {
                let outputs = self.done.iter().map(|(n, d)| (n.clone(), d.output.clone()));
                return Next::Done(outputs.collect());
            };
            if !holds(step.when.as_ref(), &document) {
                self.at += 1;
                continue;
            }
            return match self.child(step.clone(), &document, flow, epoch) {
                Ok(child) => Next::Step(child),
                Err(error) => Next::Broken(error),
            };
        }
    }

    fn child(
        &mut self,
        step: Step,
        document: &Value,
        flow: JobId,
        epoch: u32,
    ) -> Result<Child, JobError> {
        let put_together = |what: &str, kind: &Kind, input: &Value, document: &Value| {
            let resolved = resolve_input(kind, input, document, &mut { MAX_RESOLVED });
            resolved.map_err(|error| cannot_be_put_together(&step.name, what, &error))
        };
        let input = put_together("input", &step.kind, &step.input, document)?;
        let name = if self.tries == 0 {
            step.name.clone()
        } else {
            format!("{}/{}", step.name, self.tries + 1)
        };
        let job_id = child_id(flow, epoch, &name);
        if self.tries == 0 {
            // An undo knows what the step was asked for, whatever becomes of it.
            let mut document = document.clone();
            document["done"][&step.name] = json!({"job_id": job_id, "input": input});
            let undo = match &step.undo {
                Some(Undo { kind, input }) => Some(Undo {
                    kind: kind.clone(),
                    input: put_together("undo", kind, input, &document)?,
                }),
                None => None,
            };
            self.begun.push(Begun {
                step: step.name.clone(),
                undo,
            });
        }
        self.done.insert(
            step.name,
            Done {
                job_id,
                input: input.clone(),
                output: Value::Null,
            },
        );
        Ok(child(name, step.kind, input, self.forward_until))
    }

    /// The step that was to be run was not asked for: there is nothing of it to undo.
    pub fn not_begun(&mut self) {
        self.begun.pop();
    }

    /// Turns back. What was begun past the pivot, and before it, stays.
    pub fn turn(&mut self, mut failure: JobError, cancelled: bool) {
        let all = std::mem::take(&mut self.begun);
        let remains = self.is_past_pivot;
        if remains && failure.detail.is_none() {
            failure.detail = Some("its pivot had succeeded: what was made remains".to_owned());
        }
        let left = if remains { Vec::new() } else { all };
        self.back = Some(Back {
            begun: left.iter().any(|b| b.undo.is_some()),
            failure,
            cancelled,
            remains,
            left,
            tries: 0,
        });
        // They are not needed on the way back, and may be large.
        self.done.clear();
        self.steps.clear();
    }
}

fn cannot_be_put_together(step: &str, what: &str, error: &Unresolved) -> JobError {
    JobError {
        detail: Some(error.to_string()),
        ..failure(
            "bad-reference",
            &format!("the {what} of step {step} cannot be put together"),
        )
    }
}

/// Says whether a child undoes something.
pub(super) fn is_undo(name: &str) -> bool {
    name.starts_with("undo/")
}

impl Back {
    /// The undo that was being run has succeeded.
    pub fn undone(&mut self) {
        self.left.pop();
        self.tries = 0;
    }

    /// Returns the next job that undoes something. Each try is a job of its own.
    pub fn next(&mut self) -> Option<Child> {
        while let Some(begun) = self.left.last() {
            if let Some(Undo { kind, input }) = &begun.undo {
                let name = format!("undo/{}/{}", begun.step, self.tries + 1);
                return Some(Child::new(name, kind.clone(), input.clone()));
            }
            self.left.pop();
        }
        None
    }
}

fn child(name: String, kind: Kind, input: Value, deadline: Timestamp) -> Child {
    let mut child = Child::new(name, kind, input);
    child.deadline = Some(deadline);
    child
}
