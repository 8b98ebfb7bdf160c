//! What workers say of themselves, as it travels on the bus: beside progress, on `jobs.tick`.
//!
//! Anybody who may publish there can say anything, so that what is read is bounded in every part, and
//! a message that breaks a bound says nothing at all. It is about no job: those that follow jobs skip it.

use std::{collections::BTreeMap, time::Duration};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use uuid::Uuid;
use vmctl_api_types::Presence;

use crate::{
    bus::{Message, Received, RoutingKey},
    event::CONTENT_TYPE,
    topology::EXCHANGE_TICK,
};

/// The type attribute.
pub const PRESENCE_TYPE: &str = "jobs.worker.v1";

/// The longest time between two words of a worker that lives. Each is shorter by up to a fifth, so that
/// workers which were started together do not speak together.
pub const EVERY: Duration = Duration::from_secs(10);

/// How long a worker counts as alive after its last word: three may be lost.
pub const GONE_AFTER: Duration = Duration::from_secs(30);

/// Kinds that are told and read.
pub const MAX_KINDS: usize = 64;

/// Jobs that are told and read.
pub const MAX_JOBS: usize = 20;

/// Longest name, in bytes.
const MAX_NAME: usize = 128;

/// Longest of the other texts, in bytes.
const MAX_TEXT: usize = 64;

/// Largest body that is read.
const MAX_BODY: usize = 16 * 1024;

#[derive(Serialize)]
struct Envelope<'a> {
    specversion: &'static str,
    id: Uuid,
    #[serde(rename = "type")]
    event_type: &'static str,
    source: String,
    time: Timestamp,
    datacontenttype: &'static str,
    data: &'a Presence,
}

/// Wraps it for the bus: a CloudEvents document, not persistent. What is longer than its bound is cut.
pub fn to_message(mut presence: Presence, id: Uuid, time: Timestamp) -> Message {
    bound(&mut presence);
    let envelope = Envelope {
        specversion: "1.0",
        id,
        event_type: PRESENCE_TYPE,
        source: format!("/worker/{}", presence.name),
        time,
        datacontenttype: "application/json",
        data: &presence,
    };
    Message {
        exchange: EXCHANGE_TICK.to_owned(),
        routing_key: RoutingKey::presence(),
        content_type: CONTENT_TYPE.to_owned(),
        message_id: id.to_string(),
        correlation_id: String::new(),
        message_type: PRESENCE_TYPE.to_owned(),
        timestamp: time,
        persistent: false,
        headers: BTreeMap::from([("schema".to_owned(), "jobs/1".to_owned().into())]),
        // Strings and numbers only, so this cannot fail.
        body: serde_json::to_vec(&envelope).unwrap_or_default().into(),
    }
}

/// Says whether a message is about a worker, by its properties.
pub fn is_presence(message: &Received) -> bool {
    message.exchange == EXCHANGE_TICK && message.message_type.as_deref() == Some(PRESENCE_TYPE)
}

/// Reads it back; `None` for anything else, and for what no worker of ours would say.
pub fn parse(message: &Received) -> Option<Presence> {
    #[derive(Deserialize)]
    struct Read {
        data: Presence,
    }
    if !is_presence(message) || message.body.len() > MAX_BODY {
        return None;
    }
    let Read { mut data } = serde_json::from_slice(&message.body).ok()?;
    let texts = [&data.app, &data.version, &data.language];
    let projects = data.jobs.iter().map(|job| &job.project_id);
    let fits = !data.name.is_empty()
        && is_text(&data.name, MAX_NAME)
        && texts
            .into_iter()
            .chain(projects)
            .all(|text| is_text(text, MAX_TEXT));
    data.kinds.truncate(MAX_KINDS);
    data.jobs.truncate(MAX_JOBS);
    fits.then_some(data)
}

fn is_text(text: &str, most: usize) -> bool {
    text.len() <= most && !text.chars().any(char::is_control)
}

fn bound(presence: &mut Presence) {
    cut(&mut presence.name, MAX_NAME);
    for text in [
        &mut presence.app,
        &mut presence.version,
        &mut presence.language,
    ] {
        cut(text, MAX_TEXT);
    }
    presence.kinds.truncate(MAX_KINDS);
    // A project that is cut would be another one.
    presence
        .jobs
        .retain(|job| is_text(&job.project_id, MAX_TEXT));
    presence.jobs.truncate(MAX_JOBS);
}

fn cut(text: &mut String, most: usize) {
    text.retain(|c| !c.is_control());
    text.truncate(text.floor_char_boundary(most));
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};
    use vmctl_api_types::{JobInHand, ServedKind, WorkerState};

    use super::*;
    use crate::{JobId, clock::from_unix_ms};

    fn received(message: &Message) -> Received {
        Received {
            exchange: message.exchange.clone(),
            routing_key: message.routing_key.as_str().to_owned(),
            content_type: None,
            message_id: None,
            correlation_id: Some(message.correlation_id.clone()),
            message_type: Some(message.message_type.clone()),
            timestamp: None,
            headers: BTreeMap::new(),
            death: None,
            redelivered: false,
            delivery_count: 0,
            body: message.body.clone(),
        }
    }

    fn largest() -> Presence {
        let at: Timestamp = "2026-11-23T17:00:00.123456789Z".parse().unwrap();
        let kind = format!("{}.{}", "a".repeat(31), "b".repeat(32));
        let served = ServedKind {
            kind: kind.parse().unwrap(),
            slots: u32::MAX,
            in_hand: u32::MAX,
            consuming: false,
        };
        let job = JobInHand {
            id: JobId::from_uuid(Uuid::from_u128(7)),
            kind: kind.parse().unwrap(),
            project_id: "p".repeat(MAX_TEXT),
            attempt: u32::MAX,
            since: at,
            heard_at: at,
        };
        Presence {
            name: "n".repeat(1000),
            app: "é".repeat(1000),
            version: "\u{1}1.0".to_owned(),
            language: "rust".to_owned(),
            started_at: at,
            state: WorkerState::Draining,
            kinds: vec![served; 1000],
            jobs: vec![job; 1000],
        }
    }

    fn message() -> Message {
        to_message(largest(), Uuid::nil(), from_unix_ms(1_795_000_000_000))
    }

    #[test]
    fn what_is_said_fits_what_is_read() {
        let read = parse(&received(&message())).unwrap();
        assert_eq!((read.kinds.len(), read.jobs.len()), (MAX_KINDS, MAX_JOBS));
        assert_eq!((read.name.len(), read.app.len()), (MAX_NAME, MAX_TEXT));
        assert_eq!(read.version, "1.0");
    }

    #[test]
    fn what_nobody_of_ours_would_say_is_not_read() {
        let good = received(&message());
        let body: Value = serde_json::from_slice(&good.body).unwrap();
        let with = |pointer: &str, value: Value| {
            let mut body = body.clone();
            *body.pointer_mut(pointer).unwrap() = value;
            parse(&Received {
                body: body.to_string().into_bytes().into(),
                ..good.clone()
            })
        };
        assert!(with("/data/name", json!("w")).is_some());
        for (pointer, value) in [
            ("/data/name", json!("")),
            ("/data/name", json!("n".repeat(MAX_NAME + 1))),
            ("/data/name", json!("\u{1b}[2J")),
            ("/data/app", json!("a".repeat(MAX_TEXT + 1))),
            ("/data/state", json!("sleeping")),
            ("/data/started_at", json!("soon")),
            ("/data/kinds/0/kind", json!("no kind")),
            ("/data/kinds/0/slots", json!(-1)),
            ("/data/jobs/0/id", json!("no id")),
            ("/data/jobs/0/project_id", json!("p".repeat(MAX_TEXT + 1))),
            ("/data", json!(null)),
        ] {
            assert_eq!(with(pointer, value), None, "{pointer}");
        }
        for body in [&b"no JSON"[..], b"[]", &[0xff], &vec![b' '; MAX_BODY + 1]] {
            let body = bytes::Bytes::copy_from_slice(body);
            assert_eq!(
                parse(&Received {
                    body,
                    ..good.clone()
                }),
                None
            );
        }
        for change in [
            |m: &mut Received| m.exchange = "jobs".to_owned(),
            |m: &mut Received| m.message_type = Some("jobs.worker.v2".to_owned()),
        ] {
            let mut other = good.clone();
            change(&mut other);
            assert_eq!(parse(&other), None);
        }
    }

    #[test]
    fn what_a_newer_version_says_beside_it_is_passed_over() {
        let good = received(&message());
        let mut body: Value = serde_json::from_slice(&good.body).unwrap();
        body["data"]["zone"] = json!("north");
        body["data"]["kinds"][0]["lane"] = json!("high");
        let body = body.to_string().into_bytes().into();
        assert!(parse(&Received { body, ..good }).is_some());
    }
}
