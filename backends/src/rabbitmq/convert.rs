//! Messages and queue arguments, between the port's types and AMQP's.
//!
//! Nothing of a delivery's `x-` headers gets into `Received.headers`: those are the broker's. The
//! few facts that the product needs from them have fields of their own.

use std::collections::BTreeMap;

use jiff::Timestamp;
use lapin::{
    BasicProperties,
    types::{AMQPValue, FieldTable, ShortString},
};
use vmctl_core::{
    bus::{Death, HeaderValue, LogStart, Message, Received},
    topology::{Argument, ExchangeSpec, QueueSpec},
};

use super::error::TooLong;

/// Makes a short string; the library's own conversion panics above 255 bytes.
pub(super) fn short(what: &'static str, text: &str) -> Result<ShortString, TooLong> {
    ShortString::try_new(text).map_err(|_| TooLong(what))
}

fn long(text: &str) -> AMQPValue {
    AMQPValue::LongString(text.into())
}

/// A number too large for AMQP becomes the largest that it has: no limit that anybody means.
fn number(n: u64) -> AMQPValue {
    AMQPValue::LongLongInt(i64::try_from(n).unwrap_or(i64::MAX))
}

/// Returns the properties to publish a message with.
pub(super) fn properties(message: &Message) -> Result<BasicProperties, TooLong> {
    let mut headers = BTreeMap::new();
    for (name, value) in &message.headers {
        if is_the_brokers(name) {
            continue;
        }
        let value = match value {
            HeaderValue::Text(text) => long(text),
            HeaderValue::Int(n) => AMQPValue::LongLongInt(*n),
        };
        headers.insert(short("a header's name", name)?, value);
    }
    let mut properties = BasicProperties::default()
        .with_content_type(short("content-type", &message.content_type)?)
        .with_message_id(short("message-id", &message.message_id)?)
        .with_type(short("type", &message.message_type)?)
        .with_timestamp(u64::try_from(message.timestamp.as_second()).unwrap_or(0))
        // 2: the broker writes it to disk before it confirms.
        .with_delivery_mode(if message.persistent { 2 } else { 1 })
        .with_headers(FieldTable::from(headers));
    if !message.correlation_id.is_empty() {
        let id = short("correlation-id", &message.correlation_id)?;
        properties = properties.with_correlation_id(id);
    }
    Ok(properties)
}

/// Returns a delivery as the port shows it.
pub(super) fn received(delivery: lapin::message::Delivery) -> Received {
    let properties = delivery.properties;
    let text = |value: &Option<ShortString>| value.as_ref().map(ToString::to_string);
    let table = properties.headers().as_ref();
    Received {
        exchange: delivery.exchange.into(),
        routing_key: delivery.routing_key.into(),
        content_type: text(properties.content_type()),
        message_id: text(properties.message_id()),
        correlation_id: text(properties.correlation_id()),
        message_type: text(properties.kind()),
        timestamp: properties.timestamp().and_then(seconds),
        headers: table.map(headers).unwrap_or_default(),
        death: table.and_then(newest_death),
        redelivered: delivery.redelivered,
        delivery_count: table
            .and_then(|t| whole(get(t, "x-delivery-count")?))
            .and_then(|n| u32::try_from(n).ok())
            .unwrap_or(0),
        body: delivery.data.into(),
    }
}

/// Returns the place of a log entry.
pub(super) fn offset(properties: &BasicProperties) -> Option<u64> {
    let table = properties.headers().as_ref()?;
    u64::try_from(whole(get(table, "x-stream-offset")?)?).ok()
}

fn headers(table: &FieldTable) -> BTreeMap<String, HeaderValue> {
    table
        .into_iter()
        .filter(|(name, _)| !is_the_brokers(name.as_str()))
        .filter_map(|(name, value)| {
            let value = match value {
                AMQPValue::LongString(_) | AMQPValue::ShortString(_) => {
                    HeaderValue::Text(string(value)?)
                }
                _ => HeaderValue::Int(whole(value)?),
            };
            Some((name.to_string(), value))
        })
        .collect()
}

fn is_the_brokers(name: &str) -> bool {
    name.get(..2).is_some_and(|p| p.eq_ignore_ascii_case("x-"))
}

/// The broker puts the newest entry first, and moves an old one there when it recurs.
fn newest_death(table: &FieldTable) -> Option<Death> {
    let Some(deaths) = get(table, "x-death") else {
        return only_death(table);
    };
    let AMQPValue::FieldArray(deaths) = deaths else {
        return None;
    };
    let AMQPValue::FieldTable(death) = deaths.as_slice().first()? else {
        return None;
    };
    Some(Death {
        reason: string(get(death, "reason")?)?,
        queue: string(get(death, "queue")?)?,
        time: match get(death, "time") {
            Some(AMQPValue::Timestamp(at)) => seconds(*at),
            _ => None,
        },
    })
}

/// A stream of RabbitMQ 3 keeps only plain headers, so the trace is gone from a log entry and the
/// first death is left, without its time. It is the newest too, unless it is a tier that let the
/// message go: what came after that is not known.
fn only_death(table: &FieldTable) -> Option<Death> {
    let reason = string(get(table, "x-first-death-reason")?)?;
    let queue = string(get(table, "x-first-death-queue")?)?;
    (reason != "expired").then_some(Death {
        reason,
        queue,
        time: None,
    })
}

fn get<'a>(table: &'a FieldTable, name: &str) -> Option<&'a AMQPValue> {
    table.inner().get(name)
}

fn string(value: &AMQPValue) -> Option<String> {
    match value {
        AMQPValue::LongString(text) => String::from_utf8(text.as_bytes().to_vec()).ok(),
        AMQPValue::ShortString(text) => Some(text.to_string()),
        _ => None,
    }
}

fn whole(value: &AMQPValue) -> Option<i64> {
    Some(match value {
        AMQPValue::ShortShortInt(n) => i64::from(*n),
        AMQPValue::ShortShortUInt(n) => i64::from(*n),
        AMQPValue::ShortInt(n) => i64::from(*n),
        AMQPValue::ShortUInt(n) => i64::from(*n),
        AMQPValue::LongInt(n) => i64::from(*n),
        AMQPValue::LongUInt(n) => i64::from(*n),
        AMQPValue::LongLongInt(n) => *n,
        _ => return None,
    })
}

fn seconds(at: u64) -> Option<Timestamp> {
    Timestamp::from_second(i64::try_from(at).ok()?).ok()
}

/// Returns where a stream consumer starts.
pub(super) fn stream_start(from: LogStart) -> FieldTable {
    let value = match from {
        LogStart::First => long("first"),
        LogStart::Next => long("next"),
        LogStart::Offset(offset) => number(offset),
        LogStart::Time(at) => AMQPValue::Timestamp(u64::try_from(at.as_second()).unwrap_or(0)),
    };
    table([("x-stream-offset", value)])
}

/// Returns the structural arguments of an exchange.
pub(super) fn exchange_arguments(exchange: &ExchangeSpec) -> FieldTable {
    arguments(exchange.arguments())
}

/// Returns the structural arguments of a queue. They are part of its identity on the broker.
pub(super) fn queue_arguments(queue: &QueueSpec) -> FieldTable {
    arguments(queue.arguments())
}

fn arguments(arguments: Vec<(&'static str, Argument)>) -> FieldTable {
    table(arguments.into_iter().map(|(name, value)| match value {
        Argument::Text(text) => (name, long(&text)),
        Argument::Number(n) => (name, number(n)),
    }))
}

fn table(entries: impl IntoIterator<Item = (&'static str, AMQPValue)>) -> FieldTable {
    let entries = entries
        .into_iter()
        .map(|(name, value)| (name.into(), value));
    FieldTable::from(entries.collect::<BTreeMap<ShortString, _>>())
}

#[cfg(test)]
mod tests {
    use lapin::types::FieldArray;
    use vmctl_core::topology::Topology;

    use super::*;

    fn delivery(headers: FieldTable) -> lapin::message::Delivery {
        let mut delivery =
            lapin::message::Delivery::mock(1, "jobs".into(), "job.vm.create".into(), false, vec![]);
        delivery.properties = BasicProperties::default().with_headers(headers);
        delivery
    }

    fn death(reason: &str, queue: &str) -> AMQPValue {
        AMQPValue::FieldTable(table([
            ("reason", long(reason)),
            ("queue", long(queue)),
            ("time", AMQPValue::Timestamp(1_795_000_000)),
        ]))
    }

    #[test]
    fn no_header_of_the_brokers_is_handed_on() {
        let deaths = FieldArray::from(vec![
            death("rejected", "work.vm.create"),
            death("expired", "jobs.delay.1s"),
        ]);
        let received = received(delivery(table([
            ("x-death", AMQPValue::FieldArray(deaths)),
            ("x-delivery-count", AMQPValue::LongLongInt(4)),
            ("X-Forged", long("text")),
            ("x-first-death-reason", long("expired")),
            ("kind", long("vm.create")),
            ("seq", AMQPValue::LongInt(7)),
            ("odd", AMQPValue::Boolean(true)),
            ("bytes", AMQPValue::LongString(vec![0xff].into())),
        ])));
        let names: Vec<_> = received.headers.keys().map(String::as_str).collect();
        assert_eq!(names, ["kind", "seq"]);
        assert_eq!(received.headers["seq"], HeaderValue::Int(7));
        assert_eq!(received.delivery_count, 4);
        let death = received.death.unwrap();
        assert_eq!(
            (death.reason.as_str(), death.queue.as_str()),
            ("rejected", "work.vm.create")
        );
        assert_eq!(death.time.map(Timestamp::as_second), Some(1_795_000_000));
    }

    #[test]
    fn a_log_entry_tells_its_first_death_unless_more_may_have_followed() {
        let first = |reason: &str, queue: &str| {
            received(delivery(table([
                ("x-first-death-reason", long(reason)),
                ("x-first-death-queue", long(queue)),
            ])))
            .death
        };
        assert_eq!(
            first("delivery_limit", "work.vm.create"),
            Some(Death {
                reason: "delivery_limit".to_owned(),
                queue: "work.vm.create".to_owned(),
                time: None,
            })
        );
        assert_eq!(first("expired", "jobs.delay.1s"), None);
    }

    #[test]
    fn what_cannot_be_read_is_left_out() {
        for deaths in [
            long("no array"),
            AMQPValue::FieldArray(FieldArray::default()),
            AMQPValue::FieldArray(vec![long("no table")].into()),
            AMQPValue::FieldArray(vec![AMQPValue::FieldTable(FieldTable::default())].into()),
        ] {
            let received = received(delivery(table([
                ("x-death", deaths),
                ("x-delivery-count", AMQPValue::LongLongInt(-1)),
            ])));
            assert_eq!((received.death, received.delivery_count), (None, 0));
        }
        let mut late = delivery(FieldTable::default());
        late.properties = BasicProperties::default().with_timestamp(u64::MAX);
        assert_eq!(received(late).timestamp, None);
    }

    #[test]
    fn every_field_of_a_queue_is_an_argument() {
        let topology = Topology::new(&["vm.create".parse().unwrap()]);
        let arguments = |name: &str| {
            let table = queue_arguments(topology.queue(name).unwrap());
            let show = |value: &AMQPValue| match value {
                AMQPValue::LongString(text) => text.to_string(),
                AMQPValue::LongLongInt(n) => n.to_string(),
                other => panic!("{other:?}"),
            };
            let pairs = table.into_iter().map(|(k, v)| format!("{k}={}", show(v)));
            pairs.collect::<Vec<_>>().join(" ")
        };
        assert_eq!(
            arguments("work.vm.create"),
            "x-dead-letter-exchange=jobs.dlx x-dead-letter-strategy=at-least-once \
             x-delivery-limit=5 x-max-length=1000000 x-overflow=reject-publish x-queue-type=quorum"
        );
        assert_eq!(
            arguments("jobs.log"),
            "x-max-age=24h x-max-length-bytes=20000000000 x-queue-type=stream \
             x-stream-max-segment-size-bytes=64000000"
        );
        let tick = queue_arguments(&Topology::tick_queue("one"));
        assert_eq!(
            get(&tick, "x-expires"),
            Some(&AMQPValue::LongLongInt(60_000))
        );
        assert_eq!(
            get(&tick, "x-message-ttl"),
            Some(&AMQPValue::LongLongInt(30_000))
        );
    }

    #[test]
    fn a_name_that_amqp_cannot_carry_is_an_error_not_a_panic() {
        assert!(short("type", &"a".repeat(255)).is_ok());
        let error = short("type", &"a".repeat(256)).unwrap_err();
        assert_eq!(error.to_string(), "type is longer than 255 bytes");
    }
}
