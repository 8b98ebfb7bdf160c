//! When a job may start, when it must have started and ended, and how often it is tried: what the caller
//! asks for, inside what the kind allows. Pure.

use std::time::Duration;

use jiff::Timestamp;
use serde_json::{Map, Value};
use vmctl_api_types::FieldError;
use vmctl_core::{
    clock,
    event::JobSpec,
    kinds::{KindSpec, MAX_DEADLINE, parse_duration},
};

use super::request::field;

/// How far ahead a job may be scheduled.
pub(crate) const MAX_AHEAD: Duration = Duration::from_secs(7 * 24 * 3600);

/// The times of a job and its attempts.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Plan {
    /// `None` = now.
    pub run_at: Option<Timestamp>,
    pub start_by: Option<Timestamp>,
    pub deadline: Timestamp,
    pub attempt_timeout: Option<Duration>,
    pub stall_after: Option<Duration>,
    pub max_attempts: u32,
}

/// The fields of a request that make its plan, as they were given.
#[derive(Debug, Default)]
pub(super) struct Given {
    run_at: Option<Value>,
    start_by: Option<Value>,
    deadline: Option<Value>,
    attempt_timeout: Option<Value>,
    retry: Option<Value>,
}

impl Given {
    /// Takes them out of a body. `lenient` drops members of `retry` that nobody knows.
    pub fn take(fields: &mut Map<String, Value>, lenient: bool) -> Self {
        let mut take = |name| fields.remove(name).filter(|value| !value.is_null());
        let mut given = Self {
            run_at: take("run_at"),
            start_by: take("start_by"),
            deadline: take("deadline"),
            attempt_timeout: take("attempt_timeout"),
            retry: take("retry"),
        };
        if lenient && let Some(Value::Object(retry)) = &mut given.retry {
            retry.retain(|name, _| name == MAX_ATTEMPTS);
        }
        given
    }

    /// Adds them to what a request is recognised by.
    pub fn describe(&self, request: &mut Value) {
        request["deadline"] = self.deadline.clone().into();
        for (name, value) in [
            ("run_at", &self.run_at),
            ("start_by", &self.start_by),
            ("attempt_timeout", &self.attempt_timeout),
            ("retry", &self.retry),
        ] {
            // Absent ones stay absent, so that requests of older versions keep their fingerprint.
            if let Some(value) = value {
                request[name] = value.clone();
            }
        }
    }
}

impl Plan {
    /// Plans a job as its kind says, from now on.
    pub fn of(kind: &KindSpec, now: Timestamp) -> Self {
        Self::from(kind, now, None)
    }

    fn from(kind: &KindSpec, now: Timestamp, run_at: Option<Timestamp>) -> Self {
        let begin = run_at.unwrap_or(now);
        let latest = clock::add(now, MAX_DEADLINE);
        Self {
            run_at,
            start_by: kind.start_by.map(|limit| clock::add(begin, limit)),
            deadline: clock::add(begin, kind.deadline).min(latest),
            attempt_timeout: kind.attempt_timeout,
            stall_after: kind.stall_after,
            max_attempts: kind.retry.max_attempts,
        }
    }

    /// Writes the plan into a job.
    pub fn apply(&self, job: &mut JobSpec) {
        job.run_at = self.run_at;
        job.start_by = self.start_by;
        job.deadline = self.deadline;
        job.attempt_timeout = self.attempt_timeout.map(|limit| limit.as_secs());
        job.stall_after = self.stall_after.map(|limit| limit.as_secs());
        job.max_attempts = self.max_attempts;
    }
}

const MAX_ATTEMPTS: &str = "max_attempts";

/// What is wrong with a field: a code and a sentence.
type Wrong = (&'static str, String);

fn wrong(code: &'static str, detail: &str) -> Wrong {
    (code, detail.to_owned())
}

/// Makes the plan of a request; what is wrong goes to `errors`.
pub(super) fn check(
    kind: &KindSpec,
    given: &Given,
    now: Timestamp,
    errors: &mut Vec<FieldError>,
) -> Plan {
    let mut refuse = |pointer: &str, (code, detail): Wrong| {
        errors.push(field(pointer, code, &detail));
    };
    let run_at = match run_at(given.run_at.as_ref(), now) {
        Ok(at) => at,
        Err(wrong) => {
            refuse("/run_at", wrong);
            None
        }
    };
    let mut plan = Plan::from(kind, now, run_at);
    let begin = run_at.unwrap_or(now);
    match given.deadline.as_ref().map(|at| deadline(at, begin, now)) {
        None => {}
        Some(Ok(at)) => plan.deadline = at,
        Some(Err(wrong)) => refuse("/deadline", wrong),
    }
    match given
        .start_by
        .as_ref()
        .map(|at| start_by(at, begin, plan.deadline))
    {
        // A kind's limit never outlasts the job.
        None => plan.start_by = plan.start_by.map(|at| at.min(plan.deadline)),
        Some(Ok(at)) => plan.start_by = Some(at),
        Some(Err(wrong)) => refuse("/start_by", wrong),
    }
    match given
        .attempt_timeout
        .as_ref()
        .map(|limit| attempt_timeout(limit, kind))
    {
        None => {}
        Some(Ok(limit)) => plan.attempt_timeout = Some(limit),
        Some(Err(wrong)) => refuse("/attempt_timeout", wrong),
    }
    match given.retry.as_ref().map(|retry| max_attempts(retry, kind)) {
        None | Some(Ok(None)) => {}
        Some(Ok(Some(number))) => plan.max_attempts = number,
        Some(Err((pointer, wrong))) => refuse(pointer, wrong),
    }
    plan
}

/// Reads an instant, or a duration from `begin`, to the millisecond.
fn instant(given: &Value, begin: Timestamp) -> Result<Timestamp, Wrong> {
    let Value::String(text) = given else {
        return Err(wrong("type", "must be a string"));
    };
    match (parse_duration(text), text.parse::<Timestamp>()) {
        (Some(duration), _) if duration > MAX_DEADLINE => {
            Err(wrong("range", "is more than 8 days ahead"))
        }
        (Some(duration), _) => Ok(clock::add(begin, duration)),
        (None, Ok(at)) => Ok(clock::from_unix_ms(at.as_millisecond())),
        (None, Err(_)) => Err(wrong(
            "format",
            "must be a duration such as 90s, 2h, PT2H, or an instant of RFC 3339",
        )),
    }
}

fn run_at(given: Option<&Value>, now: Timestamp) -> Result<Option<Timestamp>, Wrong> {
    let Some(given) = given else { return Ok(None) };
    let at = instant(given, now)?;
    if at > clock::add(now, MAX_AHEAD) {
        return Err(wrong("range", "is more than 7 days ahead"));
    }
    Ok(Some(at).filter(|at| *at > now))
}

fn deadline(given: &Value, begin: Timestamp, now: Timestamp) -> Result<Timestamp, Wrong> {
    let at = instant(given, begin)?;
    if at <= now {
        return Err(wrong("range", "is in the past"));
    }
    if at <= begin {
        return Err(wrong("range", "is not after run_at"));
    }
    if at > clock::add(now, MAX_DEADLINE) {
        return Err(wrong("range", "is more than 8 days ahead"));
    }
    Ok(at)
}

fn start_by(given: &Value, begin: Timestamp, deadline: Timestamp) -> Result<Timestamp, Wrong> {
    let at = instant(given, begin)?;
    if at <= begin {
        return Err(wrong("range", "is in the past, or not after run_at"));
    }
    if at > deadline {
        return Err(wrong("range", "is after the deadline"));
    }
    Ok(at)
}

fn attempt_timeout(given: &Value, kind: &KindSpec) -> Result<Duration, Wrong> {
    let Value::String(text) = given else {
        return Err(wrong("type", "must be a string"));
    };
    let Some(limit) = parse_duration(text) else {
        return Err(wrong("format", "must be a duration such as 90s, 2h, PT2H"));
    };
    if limit.is_zero() || limit.subsec_nanos() != 0 {
        return Err(wrong("range", "must be whole seconds, at least 1"));
    }
    let most = kind.attempt_timeout.unwrap_or(kind.deadline);
    if limit > most {
        let detail = format!(
            "is more than the {} s that this kind allows",
            most.as_secs()
        );
        return Err(("range", detail));
    }
    Ok(limit)
}

fn max_attempts(given: &Value, kind: &KindSpec) -> Result<Option<u32>, (&'static str, Wrong)> {
    let Value::Object(fields) = given else {
        return Err(("/retry", wrong("type", "must be an object")));
    };
    if fields.keys().any(|name| name != MAX_ATTEMPTS) {
        let known = wrong("unknown-field", "only max_attempts is known");
        return Err(("/retry", known));
    }
    let pointer = "/retry/max_attempts";
    let most = kind.retry.max_attempts_limit;
    match fields.get(MAX_ATTEMPTS) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::Number(number)) => number
            .as_u64()
            .and_then(|number| u32::try_from(number).ok())
            .filter(|number| (1..=most).contains(number))
            .map(Some)
            .ok_or_else(|| (pointer, ("range", format!("must be 1 to {most}")))),
        Some(_) => Err((pointer, wrong("type", "must be a number"))),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use vmctl_core::kinds::Registry;

    use super::*;

    fn now() -> Timestamp {
        "2026-11-23T17:00:00Z".parse().unwrap()
    }

    fn plan(fields: &Value) -> Result<Plan, Vec<String>> {
        let registry = Registry::built_in().unwrap();
        let kind = registry.get(&"vm.create".parse().unwrap()).unwrap();
        let mut fields = fields.as_object().unwrap().clone();
        let given = Given::take(&mut fields, false);
        let mut errors = Vec::new();
        let plan = check(kind, &given, now(), &mut errors);
        let errors: Vec<_> = errors
            .iter()
            .map(|e| format!("{} {}", e.pointer, e.code))
            .collect();
        if errors.is_empty() {
            Ok(plan)
        } else {
            Err(errors)
        }
    }

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    #[test]
    fn durations_count_from_run_at() {
        let scheduled =
            plan(&json!({"run_at": "2h", "deadline": "3h", "start_by": "10m"})).unwrap();
        assert_eq!(scheduled.run_at, Some(at("2026-11-23T19:00:00Z")));
        assert_eq!(scheduled.start_by, Some(at("2026-11-23T19:10:00Z")));
        assert_eq!(scheduled.deadline, at("2026-11-23T22:00:00Z"));
        let by_kind = plan(&json!({"run_at": "2026-11-24T17:00:00Z"})).unwrap();
        assert_eq!(by_kind.deadline, at("2026-11-25T17:00:00Z"));
        // The longest way ahead still has the kind's day, and 8 days in all.
        let last = plan(&json!({"run_at": "7d"})).unwrap();
        assert_eq!(last.deadline, at("2026-12-01T17:00:00Z"));
    }

    #[test]
    fn what_has_passed_is_now() {
        for past in ["2026-11-23T16:00:00Z", "2026-11-23T17:00:00Z", "0s"] {
            let plan = plan(&json!({"run_at": past})).unwrap();
            assert_eq!(
                (plan.run_at, plan.deadline),
                (None, at("2026-11-24T17:00:00Z"))
            );
        }
    }

    #[test]
    fn each_bound_is_told() {
        for (fields, error) in [
            (json!({"run_at": "2026-11-30T17:00:01Z"}), "/run_at range"),
            (json!({"run_at": "8d"}), "/run_at range"),
            (json!({"run_at": "2999-01-01T00:00:00Z"}), "/run_at range"),
            (json!({"run_at": "tomorrow"}), "/run_at format"),
            (json!({"run_at": 5}), "/run_at type"),
            (
                json!({"run_at": "2h", "deadline": "2026-11-23T18:00:00Z"}),
                "/deadline range",
            ),
            (
                json!({"run_at": "7d", "deadline": "25h"}),
                "/deadline range",
            ),
            (
                json!({"deadline": "2026-11-23T16:59:59Z"}),
                "/deadline range",
            ),
            (
                json!({"start_by": "2026-11-23T16:59:59Z"}),
                "/start_by range",
            ),
            (
                json!({"run_at": "2h", "start_by": "2026-11-23T18:00:00Z"}),
                "/start_by range",
            ),
            (
                json!({"deadline": "1h", "start_by": "2h"}),
                "/start_by range",
            ),
            (json!({"start_by": false}), "/start_by type"),
            (json!({"attempt_timeout": "0s"}), "/attempt_timeout range"),
            (
                json!({"attempt_timeout": "1500ms"}),
                "/attempt_timeout range",
            ),
            (json!({"attempt_timeout": "9d"}), "/attempt_timeout range"),
            (
                json!({"attempt_timeout": "soon"}),
                "/attempt_timeout format",
            ),
            (json!({"attempt_timeout": 60}), "/attempt_timeout type"),
            (json!({"retry": 3}), "/retry type"),
            (json!({"retry": {"backoff": "1s"}}), "/retry unknown-field"),
            (
                json!({"retry": {"max_attempts": 0}}),
                "/retry/max_attempts range",
            ),
            (
                json!({"retry": {"max_attempts": 21}}),
                "/retry/max_attempts range",
            ),
            (
                json!({"retry": {"max_attempts": 1.5}}),
                "/retry/max_attempts range",
            ),
            (
                json!({"retry": {"max_attempts": "5"}}),
                "/retry/max_attempts type",
            ),
        ] {
            assert_eq!(plan(&fields).unwrap_err(), [error], "{fields}");
        }
        let plan = plan(&json!({"retry": {"max_attempts": 20}, "attempt_timeout": "90s"})).unwrap();
        assert_eq!(plan.max_attempts, 20);
        assert_eq!(plan.attempt_timeout, Some(Duration::from_secs(90)));
    }
}
