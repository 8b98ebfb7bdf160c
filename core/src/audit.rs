//! Audit entries, as they travel on the bus: beside the events, in the same log.
//!
//! An entry says what somebody asked of a server. It is no event of a job: the view and the streams
//! skip it. Whoever keeps audits binds a queue to `audit.#` at the exchange `jobs`.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use vmctl_api_types::AuditEntry;

use crate::{
    bus::{Message, Received, RoutingKey},
    event::CONTENT_TYPE,
    topology::EXCHANGE_JOBS,
};

/// The type attribute of an audit entry.
pub const AUDIT_TYPE: &str = "jobs.audit.v1";

/// Largest body that is read.
const MAX_BODY: usize = 16 * 1024;

#[derive(Serialize)]
struct Envelope<'a> {
    specversion: &'static str,
    #[serde(rename = "type")]
    event_type: &'static str,
    datacontenttype: &'static str,
    #[serde(flatten)]
    entry: &'a AuditEntry,
}

/// Wraps an entry for the bus: a CloudEvents document with the routing key `audit.<what>`.
///
/// No `correlation_id`: by that one the events of a job are told.
pub fn to_message(entry: &AuditEntry) -> Message {
    let envelope = Envelope {
        specversion: "1.0",
        event_type: AUDIT_TYPE,
        datacontenttype: "application/json",
        entry,
    };
    let mut headers = BTreeMap::from([("schema".to_owned(), "jobs/1".to_owned().into())]);
    let outcome = entry.data.outcome.as_str().to_owned();
    headers.insert("outcome".to_owned(), outcome.into());
    Message {
        exchange: EXCHANGE_JOBS.to_owned(),
        routing_key: RoutingKey::audit(&entry.data.what),
        content_type: CONTENT_TYPE.to_owned(),
        message_id: entry.id.to_string(),
        correlation_id: String::new(),
        message_type: AUDIT_TYPE.to_owned(),
        timestamp: entry.time,
        persistent: true,
        headers,
        // Strings and numbers only, so this cannot fail.
        body: serde_json::to_vec(&envelope).unwrap_or_default().into(),
    }
}

/// Says whether a message of the exchange `jobs` is an audit entry, by its properties.
pub fn is_audit(message: &Received) -> bool {
    message.exchange == EXCHANGE_JOBS && message.message_type.as_deref() == Some(AUDIT_TYPE)
}

/// Reads an entry back; `None` for anything else, or one that nobody of ours wrote.
pub fn parse(message: &Received) -> Option<AuditEntry> {
    #[derive(Deserialize)]
    struct Read {
        #[serde(flatten)]
        entry: AuditEntry,
    }
    if !is_audit(message) || message.body.len() > MAX_BODY {
        return None;
    }
    let read: Read = serde_json::from_slice(&message.body).ok()?;
    Some(read.entry)
}
