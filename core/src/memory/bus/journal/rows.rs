//! How rows look: keys sort as the broker reads them, values are small.
//!
//! | table | key | value |
//! |---|---|---|
//! | meta | `format` | JSON number |
//! | exchange, queue | name | JSON |
//! | message | number | length of the header (4 bytes), JSON header, body |
//! | entry | queue, 0, place | message, returns (4 bytes), when it expires (ms of Unix time, or 0) |
//! | letter | queue, 0, number | JSON |
//! | log | stream, 0, offset | message, when it came (ms of Unix time) |
//!
//! Numbers are 8 bytes, the highest first. No name holds a zero byte.

use std::collections::BTreeMap;

use bytes::Bytes;
use jiff::Timestamp;
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use super::JournalError;
use crate::{
    bus::{Death, HeaderValue, Message},
    clock::from_unix_ms,
    memory::bus::message::Stored,
};

/// The key of the format in the table of the same kind.
pub const FORMAT_KEY: &[u8] = b"format";

/// Where in a queue or stream.
pub fn place_key(name: &str, place: u64) -> Vec<u8> {
    let mut key = Vec::with_capacity(name.len() + 9);
    key.extend_from_slice(name.as_bytes());
    key.push(0);
    key.extend_from_slice(&place.to_be_bytes());
    key
}

pub fn read_place_key(key: &[u8]) -> Result<(&str, u64), JournalError> {
    let bad = || JournalError::Damaged("a key has no place".to_owned());
    let (name, place) = key.split_last_chunk::<8>().ok_or_else(bad)?;
    let name = name.strip_suffix(&[0]).ok_or_else(bad)?;
    let name = std::str::from_utf8(name).map_err(|_| bad())?;
    Ok((name, u64::from_be_bytes(*place)))
}

pub fn read_number_key(key: &[u8]) -> Result<u64, JournalError> {
    let key = <[u8; 8]>::try_from(key);
    key.map(u64::from_be_bytes)
        .map_err(|_| JournalError::Damaged("a message has no number".to_owned()))
}

/// What is in a queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EntryRow {
    pub message: u64,
    pub returns: u32,
    pub expires: Option<Timestamp>,
}

impl EntryRow {
    pub fn write(self) -> Vec<u8> {
        let expires = self.expires.map_or(0, Timestamp::as_millisecond);
        let mut value = Vec::with_capacity(20);
        value.extend_from_slice(&self.message.to_be_bytes());
        value.extend_from_slice(&self.returns.to_be_bytes());
        value.extend_from_slice(&expires.to_be_bytes());
        value
    }

    pub fn read(value: &[u8]) -> Result<Self, JournalError> {
        let bad = || JournalError::Damaged("an entry of a queue cannot be read".to_owned());
        let (message, rest) = value.split_first_chunk::<8>().ok_or_else(bad)?;
        let (returns, rest) = rest.split_first_chunk::<4>().ok_or_else(bad)?;
        let expires = i64::from_be_bytes(rest.try_into().map_err(|_| bad())?);
        Ok(Self {
            message: u64::from_be_bytes(*message),
            returns: u32::from_be_bytes(*returns),
            expires: (expires != 0).then(|| from_unix_ms(expires)),
        })
    }
}

/// An entry of a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LogRow {
    pub message: u64,
    pub at: Timestamp,
}

impl LogRow {
    pub fn write(self) -> Vec<u8> {
        let mut value = self.message.to_be_bytes().to_vec();
        value.extend_from_slice(&self.at.as_millisecond().to_be_bytes());
        value
    }

    pub fn read(value: &[u8]) -> Result<Self, JournalError> {
        let bad = || JournalError::Damaged("an entry of a stream cannot be read".to_owned());
        let (message, at) = value.split_first_chunk::<8>().ok_or_else(bad)?;
        let at = i64::from_be_bytes(at.try_into().map_err(|_| bad())?);
        Ok(Self {
            message: u64::from_be_bytes(*message),
            at: from_unix_ms(at),
        })
    }
}

/// A dead letter on its way.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LetterRow {
    pub message: u64,
    /// The queues that have taken it.
    pub taken: Vec<String>,
}

#[derive(Serialize, Deserialize)]
struct Header {
    /// The exchange that it came through last.
    through: String,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    deaths: Vec<DeathRow>,
    exchange: String,
    routing_key: String,
    content_type: String,
    message_id: String,
    correlation_id: String,
    message_type: String,
    timestamp_ms: i64,
    persistent: bool,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    headers: BTreeMap<String, HeaderRow>,
}

#[derive(Serialize, Deserialize)]
struct DeathRow {
    reason: String,
    queue: String,
    time_ms: Option<i64>,
}

#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum HeaderRow {
    Int(i64),
    Text(String),
}

pub fn write_message(stored: &Stored) -> Vec<u8> {
    let message = stored.message();
    let header = Header {
        through: stored.exchange.clone(),
        deaths: stored
            .deaths()
            .iter()
            .map(|death| DeathRow {
                reason: death.reason.clone(),
                queue: death.queue.clone(),
                time_ms: death.time.map(Timestamp::as_millisecond),
            })
            .collect(),
        exchange: message.exchange.clone(),
        routing_key: message.routing_key.as_str().to_owned(),
        content_type: message.content_type.clone(),
        message_id: message.message_id.clone(),
        correlation_id: message.correlation_id.clone(),
        message_type: message.message_type.clone(),
        timestamp_ms: message.timestamp.as_millisecond(),
        persistent: message.persistent,
        headers: message
            .headers
            .iter()
            .map(|(name, value)| {
                let value = match value {
                    HeaderValue::Text(text) => HeaderRow::Text(text.clone()),
                    HeaderValue::Int(number) => HeaderRow::Int(*number),
                };
                (name.clone(), value)
            })
            .collect(),
    };
    let header = write_json(&header);
    let length = u32::try_from(header.len()).unwrap_or(u32::MAX);
    let mut value = Vec::with_capacity(4 + header.len() + message.body.len());
    value.extend_from_slice(&length.to_be_bytes());
    value.extend_from_slice(&header);
    value.extend_from_slice(&message.body);
    value
}

pub fn read_message(value: &[u8]) -> Result<Stored, JournalError> {
    let bad = || JournalError::Damaged("a message cannot be read".to_owned());
    let (length, rest) = value.split_first_chunk::<4>().ok_or_else(bad)?;
    let length = usize::try_from(u32::from_be_bytes(*length)).map_err(|_| bad())?;
    let (header, body) = rest.split_at_checked(length).ok_or_else(bad)?;
    let header: Header = read_json(header)?;
    let message = Message {
        exchange: header.exchange,
        routing_key: header.routing_key.parse().map_err(|_| bad())?,
        content_type: header.content_type,
        message_id: header.message_id,
        correlation_id: header.correlation_id,
        message_type: header.message_type,
        timestamp: from_unix_ms(header.timestamp_ms),
        persistent: header.persistent,
        headers: header
            .headers
            .into_iter()
            .map(|(name, value)| {
                let value = match value {
                    HeaderRow::Text(text) => HeaderValue::Text(text),
                    HeaderRow::Int(number) => HeaderValue::Int(number),
                };
                (name, value)
            })
            .collect(),
        body: Bytes::copy_from_slice(body),
    };
    let deaths = header.deaths.into_iter().map(|death| Death {
        reason: death.reason,
        queue: death.queue,
        time: death.time_ms.map(from_unix_ms),
    });
    Ok(Stored::kept(header.through, deaths.collect(), message))
}

/// Writes one of our own rows, whose keys are all text.
#[expect(
    clippy::expect_used,
    reason = "serde_json fails only for maps whose keys are no text, and no row has one"
)]
pub fn write_json(row: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec(row).expect("a row is JSON")
}

pub fn read_json<T: DeserializeOwned>(value: &[u8]) -> Result<T, JournalError> {
    serde_json::from_slice(value)
        .map_err(|error| JournalError::Damaged(format!("a row cannot be read: {error}")))
}
