//! Submitting a job so that a lost answer never makes two of them: one key, kept on every retry.

use std::time::{Duration, Instant};

use jiff::Timestamp;
use reqwest::header;
use vmctl_api_types::{Job, JobId, ProblemType, SubmitRequest};

use crate::{
    api::{self, Api, Document},
    app::App,
    client::{Answer, Failure},
    error::CliError,
    exit::Exit,
    retry::Backoff,
    signals::Signals,
    state,
};

/// How long a submission is tried in all.
const PATIENCE: Duration = Duration::from_secs(30);

/// An accepted job.
#[derive(Debug, Clone)]
pub struct Accepted {
    /// The job as the 202 carried it.
    pub job: Document<Job>,
    /// Its `ETag`.
    pub etag: Option<String>,
    /// When the answer came.
    pub at: Instant,
}

/// Submits a job. `again` is the command line that repeats it under the same key, shown when
/// nobody can tell whether it was accepted.
pub fn submit(
    app: &App,
    api: &Api,
    signals: &mut Signals,
    body: &SubmitRequest,
    key: &str,
    again: &str,
) -> Result<Accepted, CliError> {
    let accepted = app.block_on(async {
        tokio::select! {
            biased;
            exit = signals.first() => Err(CliError::new(exit, "interrupted while the job was submitted")
                .why("it may have been accepted")
                .next(format!("{again}   asks again for the same job, never for a second one"))
                .next("vmctl job list")),
            result = persist(api, body, key, again) => result,
        }
    })??;
    let id = accepted.job.value.id;
    if !app
        .paths()
        .is_ok_and(|paths| state::remember(&paths.last_job_file, id))
    {
        app.out
            .trace("the last job could not be remembered; @last will not know it");
    }
    Ok(accepted)
}

async fn persist(
    api: &Api,
    body: &SubmitRequest,
    key: &str,
    again: &str,
) -> Result<Accepted, CliError> {
    let mut backoff = Backoff::new(Duration::from_millis(300), Duration::from_secs(5));
    let deadline = Instant::now() + PATIENCE;
    // Once one try may have arrived, no later refusal proves that there is no job.
    let mut doubtful = false;
    loop {
        let result = api.submit(body, key).await;
        let verdict = judge(&result);
        doubtful |= verdict == Verdict::Doubtful;
        let pause = backoff.delay(rand::random());
        let pause = match &result {
            Ok(answer) => answer.retry_after().map_or(pause, |asked| asked.max(pause)),
            Err(_) => pause,
        };
        if matches!(verdict, Verdict::Done | Verdict::Refused) || Instant::now() + pause > deadline
        {
            return conclude(api, result, doubtful, again);
        }
        tokio::time::sleep(pause).await;
    }
}

/// What one try means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verdict {
    Done,
    Refused,
    /// Nothing was accepted; a later try may do better.
    Later,
    /// It may have been accepted.
    Doubtful,
}

fn judge(result: &Result<Answer, Failure>) -> Verdict {
    match result {
        Ok(answer) if answer.status.is_success() => Verdict::Done,
        Ok(answer) => match (api::problem_type(answer), answer.status.as_u16()) {
            (Some(ProblemType::OutcomeUnknown | ProblemType::IdempotencyInFlight), _) => {
                Verdict::Doubtful
            }
            (Some(_), 429 | 503) | (None, 429) => Verdict::Later,
            // A 5xx without our problem type is a proxy's: the server behind it may have acted.
            (_, 408 | 500..=599) => Verdict::Doubtful,
            _ => Verdict::Refused,
        },
        Err(failure) if failure.may_have_arrived() => Verdict::Doubtful,
        Err(failure) if failure.is_temporary() => Verdict::Later,
        Err(_) => Verdict::Refused,
    }
}

fn conclude(
    api: &Api,
    result: Result<Answer, Failure>,
    doubtful: bool,
    again: &str,
) -> Result<Accepted, CliError> {
    let error = match result {
        Ok(answer) if answer.status.is_success() => {
            let etag = answer.header(header::ETAG).map(str::to_owned);
            return Ok(Accepted {
                job: api.parse(&answer)?,
                etag,
                at: Instant::now(),
            });
        }
        Ok(answer) => api.refusal(&answer),
        Err(failure) => api.unreachable(&failure),
    };
    if !doubtful {
        return Err(error.what("the job was not accepted"));
    }
    Err(error
        .what("it is not known whether the job was accepted")
        .exit(Exit::OutcomeUnknown)
        .next(format!(
            "{again}   asks again for the same job, never for a second one"
        )))
}

/// Makes a key that no other submission has.
pub fn new_key() -> String {
    format!("vmctl-{:032x}", rand::random::<u128>())
}

/// Returns the age of a job by the local clock, never negative.
pub fn age(created_at: Timestamp, now: Timestamp) -> Duration {
    Duration::try_from(now.duration_since(created_at)).unwrap_or_default()
}

/// Names a job to a person: its host name if it has one, else its kind.
pub fn label(job: &Job) -> String {
    let host = job.input.get("vm_hostname").and_then(|name| name.as_str());
    crate::text::clean(host.unwrap_or(job.kind.as_str()))
}

/// Returns the two commands that a person needs after leaving a job alone.
pub fn afterwards(app: &App, ids: &[JobId]) -> [String; 2] {
    let option = app.endpoint_option();
    let ids: Vec<String> = ids.iter().map(ToString::to_string).collect();
    let ids = ids.join(" ");
    [
        format!("  resume   vmctl job watch {ids}{option}"),
        format!("  cancel   vmctl job cancel {ids}{option}"),
    ]
}
