//! `callback.deliver`: one attempt is one request.
//!
//! The same delivery may be sent twice, when a worker dies between the answer and the confirm. Its
//! `webhook-id` is the job's id, so the receiver knows a copy.
//!
//! A delivery whose receiver is busy with others of this worker comes back later, in the same attempt.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use reqwest::StatusCode;
use serde::Deserialize;
use serde_json::json;
use vmctl_core::{
    JobError,
    callback::{DeliveryInput, MAX_EVENT},
    clock::Clock,
};

use super::{bad_input, failure};
use crate::{
    CancelReason, Ctx, Handler, Outcome,
    callbacks::{
        Answer, Client, Schedule, SecretError, Secrets, SendError, Webhook, signature,
        wait_for_place,
    },
    telemetry,
};

/// Delivers callbacks.
pub struct CallbackDeliver {
    client: Client,
    secrets: Secrets,
    schedule: Schedule,
    clock: Arc<dyn Clock>,
}

impl CallbackDeliver {
    /// Makes the handler.
    pub fn new(
        client: Client,
        secrets: Secrets,
        schedule: Schedule,
        clock: Arc<dyn Clock>,
    ) -> Self {
        Self {
            client,
            secrets,
            schedule,
            clock,
        }
    }

    async fn attempt(&self, ctx: &Ctx, input: &DeliveryInput) -> Verdict {
        let target = match self.client.read(&input.url) {
            Ok(target) => target,
            Err(error) => return Verdict::of_error(&error),
        };
        let Some(_place) = self.client.enter(&target) else {
            return Verdict::Busy(ctx.checkpoint().unwrap_or_default());
        };
        let job = ctx.job();
        let project = &job.auth.project_id;
        let secret = match self.secrets.find(&input.secret_ref, project).await {
            Ok(secret) => secret,
            Err(error) => return Verdict::unsigned(ctx, &error),
        };
        let body = Bytes::from(input.event.to_string());
        let now = self.clock.now();
        let (id, timestamp) = (job.id.to_string(), now.as_second());
        let webhook = Webhook {
            id: &id,
            timestamp,
            signature: &signature(&secret, &id, timestamp, &body),
        };
        match self.client.send(&target, &webhook, body, now).await {
            Ok(answer) => Verdict::of_answer(answer),
            Err(error) => Verdict::of_error(&error),
        }
    }
}

#[async_trait]
impl Handler for CallbackDeliver {
    async fn run(&self, ctx: Ctx) -> Outcome {
        let input = match DeliveryInput::deserialize(&ctx.job().input) {
            Ok(input) => input,
            Err(error) => return bad_input(error),
        };
        if input.event.to_string().len() > MAX_EVENT {
            return bad_input("the event is too large");
        }
        if matches!(ctx.cancel_reason(), Some(CancelReason::Requested(_))) {
            return Outcome::Cancelled;
        }
        // An attempt is shorter than any drain, so a worker that is to stop lets it end.
        let verdict = self.attempt(&ctx, &input).await;
        telemetry::callback(verdict.word());
        tracing::debug!(job.id = %ctx.job().id, outcome = verdict.word(), "callback attempted");
        verdict.outcome(ctx.attempt(), &self.schedule)
    }
}

/// What came of one attempt.
#[derive(Debug)]
enum Verdict {
    Delivered(StatusCode),
    /// The receiver's host has enough requests of this worker. So often it had before.
    Busy(u32),
    /// The receiver wants no more.
    Gone,
    /// Any other answer.
    Refused(Answer),
    /// The address may not be called, whatever its name leads to.
    Forbidden(JobError),
    /// There is no answer, or no request.
    Failed(&'static str, JobError),
}

impl Verdict {
    fn of_answer(answer: Answer) -> Self {
        match answer.status {
            status if status.is_success() => Self::Delivered(status),
            StatusCode::GONE => Self::Gone,
            _ => Self::Refused(answer),
        }
    }

    fn of_error(error: &SendError) -> Self {
        use vmctl_egress::GuardError;
        match error {
            SendError::Guard(GuardError::Refused(refusal)) => Self::Forbidden(JobError {
                detail: Some(refusal.to_string()),
                ..failure(
                    "callback-forbidden",
                    "the callback's address is not allowed",
                )
            }),
            SendError::Guard(GuardError::Forbidden) => Self::Failed(
                "forbidden",
                // Names change; the next attempt looks again.
                failure(
                    "callback-forbidden",
                    "the callback's name leads to an address that is not allowed",
                ),
            ),
            SendError::Guard(GuardError::Unresolved(_)) => Self::Failed(
                "unreachable",
                failure("unreachable", "the receiver's name could not be resolved"),
            ),
            SendError::Timeout => Self::Failed(
                "timeout",
                failure("timeout", "the receiver did not answer in time"),
            ),
            SendError::Unreachable(source) => {
                tracing::debug!(
                    error = source as &dyn std::error::Error,
                    "a receiver cannot be reached"
                );
                Self::Failed(
                    "unreachable",
                    failure("unreachable", "the receiver cannot be reached"),
                )
            }
        }
    }

    fn unsigned(ctx: &Ctx, error: &SecretError) -> Self {
        tracing::warn!(
            job.id = %ctx.job().id,
            error = error as &dyn std::error::Error,
            "a callback cannot be signed; it is tried again on its schedule"
        );
        Self::Failed(
            "unsigned",
            JobError {
                detail: Some(
                    "the operator sets secrets; ask for another one or for this one".to_owned(),
                ),
                ..failure(
                    "secret-unknown",
                    "the callback cannot be signed with that secret",
                )
            },
        )
    }

    fn word(&self) -> &'static str {
        match self {
            Self::Delivered(_) => "delivered",
            Self::Busy(_) => "busy",
            Self::Gone => "gone",
            Self::Refused(answer) if answer.status.is_redirection() => "redirect",
            Self::Refused(_) => "refused",
            Self::Forbidden(_) => "forbidden",
            Self::Failed(word, _) => word,
        }
    }

    fn outcome(self, attempt: u32, schedule: &Schedule) -> Outcome {
        let again = |asked, mut error: JobError| {
            error.retryable = true;
            Outcome::Retry {
                after: Some(schedule.wait(attempt, asked, rand::random())),
                error,
            }
        };
        match self {
            Self::Delivered(status) => Outcome::Done(json!({"status": status.as_u16()})),
            Self::Busy(times) => Outcome::Continue {
                after: wait_for_place(times, rand::random()),
                checkpoint: json!(times.saturating_add(1)),
            },
            Self::Gone => Outcome::Fail(of_status(
                StatusCode::GONE,
                "the receiver wants no more callbacks",
            )),
            Self::Refused(answer) if answer.status.is_redirection() => again(
                None,
                of_status(
                    answer.status,
                    "the receiver redirects, and that is not followed",
                ),
            ),
            Self::Refused(answer) => {
                let obeyed = [
                    StatusCode::TOO_MANY_REQUESTS,
                    StatusCode::SERVICE_UNAVAILABLE,
                ];
                let asked = answer
                    .retry_after
                    .filter(|_| obeyed.contains(&answer.status));
                again(
                    asked,
                    of_status(answer.status, "the receiver did not take it"),
                )
            }
            Self::Forbidden(error) => Outcome::Fail(error),
            Self::Failed(_, error) => again(None, error),
        }
    }
}

/// The one thing of an answer that a user is told.
fn of_status(status: StatusCode, title: &str) -> JobError {
    failure(
        &format!("http-{}", status.as_u16()),
        &format!("{title} (status {})", status.as_u16()),
    )
}
