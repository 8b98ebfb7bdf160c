//! The `AsyncAPI` document: what a worker takes from the bus and says on it.
//!
//! Made from the registry, the topology and the same types that are read and written, so that it
//! cannot differ from them. `asyncapi.json` is the one of the built-in kinds, checked in.
//!
//! [AsyncAPI 3.0.0](https://www.asyncapi.com/docs/reference/specification/v3.0.0), with AMQP bindings
//! 0.3.0. The application that it describes is a worker.

use serde_json::{Map, Value, json};
use utoipa::{PartialSchema, ToSchema};
use vmctl_api_types::Presence;
use vmctl_core::{
    event::{CONTENT_TYPE, CONTROL_TYPE, Control, Event, EventType},
    kinds::{KindSpec, Registry},
    pointer::member,
    presence::PRESENCE_TYPE,
    topology::{EXCHANGE_CONTROL, EXCHANGE_JOBS, EXCHANGE_TICK, QueueSpec, Tier, Topology},
};

/// Version of the AMQP bindings.
const BINDING: &str = "0.3.0";

/// JSON Schema as the kinds and the messages write it.
const SCHEMA_FORMAT: &str = "application/schema+json;version=draft-2020-12";

/// Returns the document for the kinds of a registry.
pub fn document(registry: &Registry) -> Value {
    let topology = Topology::new(registry.kinds().map(|kind| &kind.kind));
    let mut channels = Map::new();
    let mut operations = Map::new();
    let mut messages = messages();
    for kind in registry.kinds() {
        let name = format!("work.{}", kind.kind);
        let Some(queue) = topology.queue(&name) else {
            continue;
        };
        let commands = commands_of(kind, &mut messages);
        operations.insert(
            format!("take.{}", kind.kind),
            operation("receive", &name, commands.keys()),
        );
        channels.insert(name, work_channel(kind, queue, &commands));
    }
    for shared in &SHARED {
        let carried = operation(shared.action, shared.name, shared.messages);
        operations.insert(shared.name.to_owned(), carried);
        channels.insert(shared.name.to_owned(), shared.channel());
    }
    json!({
        "asyncapi": "3.0.0",
        "info": {
            "title": "vmctl jobs",
            "version": "1.0.0",
            "description": "How a worker takes jobs and says what becomes of them. Every body is one CloudEvents 1.0 document in structured mode. A worker acknowledges a delivery only after the broker has confirmed the message that it answers with. Whatever a newer version has put into a command goes on into what follows from it.",
            "license": {"name": "Apache-2.0 OR MIT"},
        },
        "defaultContentType": CONTENT_TYPE,
        "channels": channels,
        "operations": operations,
        "components": {"messages": messages, "schemas": schemas()},
    })
}

/// The types of the messages, as the code writes and reads them.
fn schemas() -> Map<String, Value> {
    let mut referenced = vec![
        (Event::name().into_owned(), Event::schema()),
        (Control::name().into_owned(), Control::schema()),
        (Presence::name().into_owned(), Presence::schema()),
    ];
    Event::schemas(&mut referenced);
    Control::schemas(&mut referenced);
    Presence::schemas(&mut referenced);
    referenced
        .into_iter()
        // Maps and strings only, so this cannot fail.
        .map(|(name, schema)| (name, serde_json::to_value(schema).unwrap_or_default()))
        .collect()
}

/// One message for each type, with the payload that all have.
fn messages() -> Map<String, Value> {
    let mut messages: Map<_, _> = EventType::ALL
        .into_iter()
        .map(|event_type| {
            let payload = json!({"$ref": "#/components/schemas/Event"});
            let message = message(event_type, &payload);
            (event_type.word().to_owned(), message)
        })
        .collect();
    let control = json!({
        "name": CONTROL_TYPE,
        "title": "control",
        "summary": "To every worker that listens now; may be lost.",
        "contentType": "application/json",
        "payload": multi_format(&json!({"$ref": "#/components/schemas/Control"})),
        "bindings": {"amqp": {"messageType": CONTROL_TYPE, "bindingVersion": BINDING}},
    });
    messages.insert("control".to_owned(), control);
    messages.insert("worker".to_owned(), presence());
    messages
}

/// The only message that is about no job.
fn presence() -> Value {
    let payload = json!({
        "type": "object",
        "required": ["specversion", "id", "type", "source", "time", "data"],
        "properties": {
            "specversion": {"const": "1.0"},
            "id": {"type": "string", "format": "uuid"},
            "type": {"const": PRESENCE_TYPE},
            "source": {"type": "string", "description": "`/worker/<name>`"},
            "time": {"type": "string", "format": "date-time"},
            "datacontenttype": {"const": "application/json"},
            "data": {"$ref": "#/components/schemas/Presence"},
        },
    });
    json!({
        "name": PRESENCE_TYPE,
        "title": "worker",
        "summary": "What a worker consumes and has in hand; losing one is harmless.",
        "contentType": CONTENT_TYPE,
        "payload": multi_format(&payload),
        "bindings": {"amqp": {"messageType": PRESENCE_TYPE, "bindingVersion": BINDING}},
    })
}

fn message(event_type: EventType, payload: &Value) -> Value {
    let name = format!("jobs.{}.v1", event_type.word());
    json!({
        "name": name,
        "title": event_type.word(),
        "summary": summary(event_type),
        "contentType": CONTENT_TYPE,
        "headers": multi_format(&headers()),
        "correlationId": {"description": "The job", "location": "$message.payload#/subject"},
        "payload": multi_format(payload),
        "bindings": {"amqp": {"messageType": name, "bindingVersion": BINDING}},
    })
}

fn headers() -> Value {
    let text = |description: &str| json!({"type": "string", "description": description});
    let number = |description: &str| json!({"type": "integer", "description": description});
    json!({
        "type": "object",
        "properties": {
            "schema": {"const": "jobs/1"},
            "kind": text("What the job does"),
            "project": text("The project that owns it"),
            "state": text("The state that the message announces"),
            "traceparent": text("W3C trace context"),
            "epoch": number("The run, from 0"),
            "attempt": number("The try inside the run, from 1"),
            "seq": number("Orders the messages of one attempt"),
            "deadline": number("When the job ends at the latest, in milliseconds since the Unix epoch"),
        },
    })
}

fn multi_format(schema: &Value) -> Value {
    json!({"schemaFormat": SCHEMA_FORMAT, "schema": schema})
}

const fn summary(event_type: EventType) -> &'static str {
    match event_type {
        EventType::Submitted => "Run this job.",
        EventType::Retry => "Run the next attempt.",
        EventType::Continued => "Run the next slice of the same attempt.",
        EventType::Redriven => "Run an ended job again, in its next epoch.",
        EventType::Started => "A worker has started an attempt.",
        EventType::CancelRequested => "Somebody asked to cancel the job.",
        EventType::Succeeded => "The job ended with an output.",
        EventType::Failed => "The job ended with an error; parked with its whole command.",
        EventType::Cancelled => "The job ended because somebody asked for it.",
        EventType::Deadline => "The job ended because its time was over.",
        EventType::Kept => "The job is alive; said again so that the log still holds it.",
        EventType::Progress => "How far an attempt is; losing one is harmless.",
        EventType::Log => "Lines of the job's log; losing some is harmless.",
    }
}

/// The commands of one kind: its input is known.
fn commands_of(kind: &KindSpec, messages: &mut Map<String, Value>) -> Map<String, Value> {
    let mut commands = Map::new();
    let commanding = EventType::ALL.into_iter().filter(|t| t.is_command());
    for event_type in commanding {
        let name = format!("{}.{}", event_type.word(), kind.kind);
        let job = json!({"properties": {
            "kind": {"const": kind.kind},
            "input": kind.input_schema(),
        }});
        let payload = json!({"allOf": [
            {"$ref": "#/components/schemas/Event"},
            {"properties": {"data": {"properties": {"job": job}}}},
        ]});
        messages.insert(name.clone(), message(event_type, &payload));
        commands.insert(name.clone(), reference("#/components/messages", &name));
    }
    commands
}

fn work_channel(kind: &KindSpec, queue: &QueueSpec, commands: &Map<String, Value>) -> Value {
    json!({
        "address": queue.name,
        "title": format!("Commands of {}", kind.kind),
        "description": kind.summary,
        "messages": commands,
        "bindings": {"amqp": {
            "is": "queue",
            "queue": {"name": queue.name, "durable": true, "exclusive": false, "autoDelete": false},
            "bindingVersion": BINDING,
        }},
    })
}

/// A channel that all kinds share.
struct Shared {
    name: &'static str,
    /// What a worker does with it.
    action: &'static str,
    address: &'static str,
    exchange: &'static str,
    description: &'static str,
    messages: &'static [&'static str],
}

const SHARED: [Shared; 8] = [
    Shared {
        name: "go-on",
        action: "send",
        address: "job.{domain}.{action}",
        exchange: EXCHANGE_JOBS,
        description: "The next slice, at once.",
        messages: &["continued"],
    },
    Shared {
        name: "go-on-later",
        action: "send",
        address: "delay.{tier}.job.{domain}.{action}",
        exchange: EXCHANGE_JOBS,
        description: "The next slice or the next attempt, after a while.",
        messages: &["continued", "retry"],
    },
    Shared {
        name: "say",
        action: "send",
        address: "event.{domain}.{action}.{word}",
        exchange: EXCHANGE_JOBS,
        description: "Facts about a job.",
        messages: &["started", "succeeded", "cancelled", "deadline"],
    },
    Shared {
        name: "give-up",
        action: "send",
        address: "dead.{domain}.{action}",
        exchange: EXCHANGE_JOBS,
        description: "The job failed for good.",
        messages: &["failed"],
    },
    Shared {
        name: "report-progress",
        action: "send",
        address: "tick.{domain}.{action}.progress",
        exchange: EXCHANGE_TICK,
        description: "Progress, not persistent and not confirmed.",
        messages: &["progress"],
    },
    Shared {
        name: "write-log",
        action: "send",
        address: "tick.{domain}.{action}.log",
        exchange: EXCHANGE_TICK,
        description: "Lines of the job's log, not persistent and not confirmed.",
        messages: &["log"],
    },
    Shared {
        name: "be-present",
        action: "send",
        address: "tick.worker.alive",
        exchange: EXCHANGE_TICK,
        description: "That the worker lives and what it does: at least every 10 s, when it changes what it consumes, and at its end. Not persistent and not confirmed.",
        messages: &["worker"],
    },
    Shared {
        name: "listen",
        action: "receive",
        address: "control",
        exchange: EXCHANGE_CONTROL,
        description: "Bind a queue of your own. What must not be missed is also in the view.",
        messages: &["control"],
    },
];

impl Shared {
    fn channel(&self) -> Value {
        let messages: Map<_, _> = self
            .messages
            .iter()
            .map(|name| ((*name).to_owned(), reference("#/components/messages", name)))
            .collect();
        let exchange_type = match self.exchange {
            EXCHANGE_CONTROL => "fanout",
            _ => "topic",
        };
        json!({
            "address": self.address,
            "description": self.description,
            "parameters": self.parameters(),
            "messages": messages,
            "bindings": {"amqp": {
                "is": "routingKey",
                "exchange": {
                    "name": self.exchange,
                    "type": exchange_type,
                    "durable": true,
                    "autoDelete": false,
                },
                "bindingVersion": BINDING,
            }},
        })
    }

    /// Explains the words in braces of the address.
    fn parameters(&self) -> Value {
        let mut parameters = json!({
            "domain": {"description": "First word of the kind"},
            "action": {"description": "Second word of the kind"},
            "word": {
                "description": "The word of the message's type",
                "enum": self.messages,
            },
            "tier": {
                "description": "How long the broker keeps it; a worker that gets it early delays it again",
                "enum": Tier::ALL.map(Tier::as_str),
            },
        });
        if let Some(parameters) = parameters.as_object_mut() {
            parameters.retain(|name, _| self.address.contains(&format!("{{{name}}}")));
        }
        parameters
    }
}

fn operation<M: AsRef<str>>(
    action: &str,
    channel: &str,
    messages: impl IntoIterator<Item = M>,
) -> Value {
    let carried = member(&member("#/channels", channel), "messages");
    let messages: Vec<_> = messages
        .into_iter()
        .map(|name| reference(&carried, name.as_ref()))
        .collect();
    json!({"action": action, "channel": reference("#/channels", channel), "messages": messages})
}

fn reference(parent: &str, name: &str) -> Value {
    json!({"$ref": member(parent, name)})
}

#[cfg(test)]
mod tests {
    use std::{fs, path::Path};

    use super::*;

    fn built_in() -> Value {
        document(&Registry::built_in().unwrap())
    }

    /// `VMCTL_UPDATE=1` writes the file anew.
    #[test]
    fn t18_the_checked_in_document_is_the_one_that_is_served() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/asyncapi.json");
        let document = serde_json::to_string_pretty(&built_in()).unwrap() + "\n";
        if std::env::var_os("VMCTL_UPDATE").is_some_and(|v| v == "1") {
            fs::write(path, &document).unwrap();
        }
        let checked_in = fs::read_to_string(path).unwrap_or_default();
        assert!(
            checked_in == document,
            "server/asyncapi.json differs from the code: run the tests with VMCTL_UPDATE=1"
        );
    }

    #[test]
    fn every_reference_has_its_place() {
        fn walk<'v>(value: &'v Value, found: &mut Vec<&'v str>) {
            match value {
                Value::Object(map) => {
                    found.extend(map.get("$ref").and_then(Value::as_str));
                    map.values().for_each(|v| walk(v, found));
                }
                Value::Array(items) => items.iter().for_each(|v| walk(v, found)),
                _ => {}
            }
        }
        let document = built_in();
        let mut references = Vec::new();
        walk(&document, &mut references);
        assert!(references.len() > 50);
        for reference in references {
            let place = reference.strip_prefix('#').unwrap();
            assert!(document.pointer(place).is_some(), "{reference}");
        }
    }

    /// The payload of a message of the document, ready to check bodies.
    fn validator(document: &Value, message: &str) -> jsonschema::Validator {
        let pointer = format!("/components/messages/{message}/payload/schema");
        let mut schema = document.pointer(&pointer).unwrap().clone();
        schema["components"] = document["components"].clone();
        jsonschema::draft202012::new(&schema).unwrap()
    }

    #[test]
    fn the_examples_are_what_it_describes() {
        let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/messages");
        let document = built_in();
        let mut checked = 0;
        for file in fs::read_dir(directory).unwrap() {
            let path = file.unwrap().path();
            let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
            if path.extension().is_none_or(|e| e != "json") || name == "mark" {
                continue;
            }
            let example: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
            let message = name.split('-').next().unwrap();
            let validator = validator(&document, message);
            let errors: Vec<_> = validator
                .iter_errors(&example["body"])
                .map(|e| e.to_string())
                .collect();
            assert_eq!(errors, [] as [String; 0], "{name}");
            if example["exchange"] == "jobs" {
                let headers = &document["components"]["messages"][message]["headers"]["schema"];
                assert!(
                    jsonschema::draft202012::is_valid(headers, &example["headers"]),
                    "{name}"
                );
            }
            checked += 1;
        }
        assert!(checked >= EventType::ALL.len(), "{checked}");
    }

    #[test]
    fn a_wrong_input_is_not_what_it_describes() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/messages/submitted.json");
        let mut example: Value = serde_json::from_slice(&fs::read(path).unwrap()).unwrap();
        let validator = validator(&built_in(), "submitted.vm.create");
        assert!(validator.is_valid(&example["body"]));
        example["body"]["data"]["job"]["input"]["vm_profile"] = json!("Huge");
        assert!(!validator.is_valid(&example["body"]));
    }
}
