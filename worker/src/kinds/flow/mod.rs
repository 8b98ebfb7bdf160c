//! Flows: a job that runs other jobs step by step, and undoes them when one fails.
//!
//! The flow is one job that its user follows; its checkpoint is the routing slip. Each slice looks at
//! how the step before ended and asks for the next one, so that a worker that is killed anywhere
//! loses nothing. Workers of the steps know nothing of flows.
//!
//! ```text
//!  step 1 --> step 2 --> … --> done
//!    |          | failed, or the flow is cancelled
//!    v          v
//!  undo 1 <-- undo 2           then the flow ends as failed or cancelled
//! ```
//!
//! A step that has failed is undone like the ones before it: nobody knows what it has left. One that
//! cannot be asked for, as when another job has its host name, has left nothing; those before it are
//! undone. An undo
//! that fails is tried again as long as the flow lives; after [`STUCK_AFTER`] failures the job shows
//! `compensation: stuck`. A part of the flow's time is kept for undoing ([`Slip::begin`]), and it
//! ends a little before its deadline, so that what is left to a person is parked as a dead letter.

mod slip;

use std::time::Duration;

use async_trait::async_trait;
use serde::Deserialize;
use vmctl_core::{
    Compensation, JobError, JobState,
    flow::{Step, steps_of},
    kinds::KindSpec,
};

use self::slip::{Back, Next, Slip, is_undo};
use super::{bad_input, failure};
use crate::{CancelReason, ChildOutcome, Ctx, Handler, Outcome, Spawn, author::until, telemetry};

/// After so many failures in a row an undo is `stuck`.
pub const STUCK_AFTER: u32 = 5;

/// First and longest pause between two tries.
const PAUSE: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(15 * 60));

/// Runs the flows of one kind.
pub struct Flow {
    steps: Option<Vec<Step>>,
}

impl Flow {
    /// Makes the handler of a kind: its own steps, or those of each job's input.
    pub fn of(kind: &KindSpec) -> Self {
        Self {
            steps: kind.steps.clone(),
        }
    }

    fn steps(&self, ctx: &Ctx) -> Result<Vec<Step>, String> {
        match &self.steps {
            Some(steps) => Ok(steps.clone()),
            None => steps_of(&ctx.job().input),
        }
    }
}

#[async_trait]
impl Handler for Flow {
    async fn run(&self, ctx: Ctx) -> Outcome {
        let mut slip = match ctx.checkpoint::<Slip>() {
            Some(slip) => slip,
            None => match self.steps(&ctx) {
                Ok(steps) => Slip::begin(steps, ctx.now(), ctx.job().deadline),
                Err(reason) => return bad_input(reason),
            },
        };
        let ended = ctx.children().first();
        if slip.back.is_none()
            && let Some(outcome) = forward(&ctx, &mut slip, ended)
        {
            return outcome;
        }
        backward(&ctx, &mut slip, ended)
    }

    fn refused(&self, ctx: &Ctx, spawn: Spawn, error: JobError) -> Outcome {
        let (Ok(mut slip), Some(child)) = (
            Slip::deserialize(&spawn.checkpoint),
            spawn.children.into_iter().next(),
        ) else {
            return Outcome::Fail(error);
        };
        ctx.log(format!("{} is refused: {}", child.name, error.title));
        if let Some(back) = &mut slip.back {
            back.tries += 1;
            return undo_again(ctx, &slip);
        }
        if slip.is_past_pivot {
            return again(ctx, &mut slip);
        }
        slip.not_begun();
        slip.turn(error, false);
        backward(ctx, &mut slip, None)
    }
}

/// Goes one step further; `None` when the flow is to be undone.
fn forward(ctx: &Ctx, slip: &mut Slip, ended: Option<&ChildOutcome>) -> Option<Outcome> {
    let cancelled = is_cancelled(ctx);
    if let Some(child) = ended {
        if child.succeeded() {
            ctx.log(format!("step {} succeeded", child.name));
            slip.succeeded(child);
        } else if slip.is_past_pivot && !cancelled && ctx.now() < slip.forward_until {
            ctx.log(format!("step {} failed: {}", child.name, why(child)));
            return Some(again(ctx, slip));
        } else if !cancelled {
            ctx.log(format!("step {} failed: {}", child.name, why(child)));
            slip.turn(step_failed(child, ctx.now() >= slip.forward_until), false);
            return None;
        }
    }
    if cancelled {
        let error = failure("cancelled", "the flow was cancelled");
        slip.turn(error, true);
        return None;
    }
    if ctx.now() >= slip.forward_until {
        let error = failure("deadline", "the flow's time is over");
        slip.turn(error, false);
        return None;
    }
    let (epoch, job) = (ctx.epoch(), ctx.job());
    match slip.next(&job.input, job.id, epoch) {
        Next::Done(output) => Some(Outcome::Done(output)),
        Next::Broken(error) => {
            ctx.log(format!(
                "{}: {}",
                error.title,
                error.detail.as_deref().unwrap_or_default()
            ));
            slip.turn(error, false);
            None
        }
        Next::Step(child) => {
            let (number, of) = slip.place();
            let percent = (number - 1) * 100 / of.max(1);
            ctx.progress().report_step(
                u8::try_from(percent).unwrap_or(100),
                &child.name,
                Some((number, of)),
                None,
            );
            ctx.log(format!(
                "step {} is {} ({number} of {of})",
                child.name, child.kind
            ));
            Some(Outcome::Spawn(Spawn {
                until: Some(slip.end),
                ..Spawn::all(vec![child], slip.checkpoint())
            }))
        }
    }
}

/// Repeats a step that must succeed.
fn again(ctx: &Ctx, slip: &mut Slip) -> Outcome {
    slip.tries += 1;
    ctx.log("it is tried again, because nothing is undone any more");
    Outcome::Continue {
        after: pause(slip.tries).min(until(ctx.now(), slip.forward_until)),
        checkpoint: slip.checkpoint(),
    }
}

/// Takes one step back, or ends.
fn backward(ctx: &Ctx, slip: &mut Slip, ended: Option<&ChildOutcome>) -> Outcome {
    let is_over = ctx.now() >= slip.end;
    let Some(back) = &mut slip.back else {
        return bad_input("the flow's checkpoint makes no sense");
    };
    if let Some(child) = ended.filter(|child| is_undo(&child.name)) {
        if child.succeeded() {
            ctx.log(format!("{} succeeded", child.name));
            back.undone();
        } else if !is_over {
            ctx.log(format!("{} failed: {}", child.name, why(child)));
            back.tries += 1;
            return undo_again(ctx, slip);
        }
    }
    let Some(mut undo) = back.next() else {
        return end(ctx, back);
    };
    if is_over {
        return stuck(ctx, back);
    }
    ctx.set_compensation(if back.tries >= STUCK_AFTER {
        Compensation::Stuck
    } else {
        Compensation::Running
    });
    undo.deadline = Some(slip.end);
    Outcome::Spawn(Spawn {
        until: Some(slip.end),
        shielded: true,
        ..Spawn::all(vec![undo], slip.checkpoint())
    })
}

/// Tries an undo again that has failed, or could not be asked for.
fn undo_again(ctx: &Ctx, slip: &Slip) -> Outcome {
    let tries = slip.back.as_ref().map_or(0, |back| back.tries);
    tell_stuck(ctx, tries);
    Outcome::Continue {
        after: pause(tries).min(until(ctx.now(), slip.end)),
        checkpoint: slip.checkpoint(),
    }
}

/// Says that an undo has failed too often.
fn tell_stuck(ctx: &Ctx, tries: u32) {
    if tries >= STUCK_AFTER {
        ctx.set_compensation(Compensation::Stuck);
    }
    if tries == STUCK_AFTER {
        telemetry::stuck(&ctx.job().kind);
        tracing::error!(
            job.id = %ctx.job().id,
            job.kind = %ctx.job().kind,
            "a step of a flow cannot be undone; it is tried on, and a person should look"
        );
    }
}

/// Ends a flow of which nothing is left to undo.
fn end(ctx: &Ctx, back: &Back) -> Outcome {
    if back.begun {
        ctx.set_compensation(Compensation::Done);
    }
    if back.cancelled && !back.remains {
        return Outcome::Cancelled;
    }
    Outcome::Fail(back.failure.clone())
}

/// Ends a flow whose time is over before everything was undone.
fn stuck(ctx: &Ctx, back: &Back) -> Outcome {
    ctx.set_compensation(Compensation::Stuck);
    let left: Vec<&str> = back.left.iter().map(|b| b.step.as_str()).collect();
    tracing::error!(
        job.id = %ctx.job().id,
        job.kind = %ctx.job().kind,
        "the time of a flow is over, and not all of its steps are undone"
    );
    Outcome::Fail(JobError {
        detail: Some(format!(
            "not undone: {}; the flow had failed because {}",
            left.join(", "),
            back.failure.title
        )),
        ..failure(
            "compensation-stuck",
            "the flow's time is over and steps are not undone",
        )
    })
}

fn pause(tries: u32) -> Duration {
    let (first, longest) = PAUSE;
    let doubled = first.saturating_mul(1 << tries.saturating_sub(1).min(20));
    doubled.min(longest)
}

/// Says whether somebody wants the flow gone. A flow ends before its deadline by itself.
fn is_cancelled(ctx: &Ctx) -> bool {
    matches!(ctx.cancel_reason(), Some(CancelReason::Requested(_)))
}

fn why(child: &ChildOutcome) -> String {
    match (&child.error, child.state) {
        (Some(error), _) => error.title.clone(),
        (None, Some(state)) => format!("its job is {state}"),
        (None, None) => "its job is not known".to_owned(),
    }
}

fn step_failed(child: &ChildOutcome, late: bool) -> JobError {
    let word = match child.state {
        Some(JobState::Cancelled) if late => "deadline",
        _ => "step-failed",
    };
    let error_type = child
        .error
        .as_ref()
        .map_or("none", |e| e.error_type.as_str());
    JobError {
        detail: Some(format!("job {} ended with {error_type}", child.id)),
        retryable: child.error.as_ref().is_some_and(|e| e.retryable),
        ..failure(word, &format!("step {} failed: {}", child.name, why(child)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_a_quarter_of_an_hour() {
        let seconds: Vec<u64> = [1, 2, 3, 10, 11, 1000].map(|n| pause(n).as_secs()).into();
        assert_eq!(seconds, [1, 2, 4, 512, 900, 900]);
    }
}
