//! The topology and its users as the broker's definitions, which `rabbitmqctl import_definitions` and
//! `load_definitions` take.

use serde_json::{Map, Value, json};
use vmctl_core::topology::{Argument, ExchangeType, Topology};

use super::{passwords::Passwords, rights::Rights};

/// What a user of the broker has open at most.
const CHANNELS_PER_CONNECTION: u32 = 256;

/// What definitions are made of.
#[derive(Debug)]
pub struct Plan {
    /// The virtual host.
    pub vhost: String,
    /// Exchanges and queues.
    pub topology: Topology,
    /// The users.
    pub users: Vec<Rights>,
    /// Connections that each user may have open, over all processes.
    pub connections: u32,
    /// What the log keeps.
    pub log: LogSize,
}

/// Where the log ends: at its age or its size, whichever comes first.
#[derive(Debug, Clone, Copy)]
pub struct LogSize {
    /// How old an entry gets.
    pub hours: u32,
    /// How much there is of it on each node.
    pub bytes: u64,
}

impl Plan {
    /// Returns the definitions. Users are among them only with their passwords: one without would
    /// replace a user that has one, and lock it out.
    pub fn definitions(&self, passwords: Option<&Passwords>) -> anyhow::Result<Value> {
        let mut all = json!({
            "vhosts": [{"name": self.vhost}],
            "permissions": self.permissions(),
            "topic_permissions": self.topic_permissions(),
            "parameters": [],
            "policies": self.policies(),
            "exchanges": self.exchanges(),
            "queues": self.queues(),
            "bindings": self.bindings(),
        });
        if let Some(passwords) = passwords {
            let mut users = self.users();
            for user in &mut users {
                let name = user["name"].as_str().unwrap_or_default().to_owned();
                user["password_hash"] = passwords.hash(&name)?.into();
                user["hashing_algorithm"] = "rabbit_password_hashing_sha256".into();
            }
            all["users"] = users.into();
        }
        Ok(all)
    }

    /// Returns the users, without passwords.
    pub fn users(&self) -> Vec<Value> {
        let limits = json!({
            "max-connections": self.connections,
            "max-channels": self.connections.saturating_mul(CHANNELS_PER_CONNECTION),
        });
        let user =
            |rights: &Rights| json!({"name": rights.user, "tags": rights.tags, "limits": limits});
        self.users.iter().map(user).collect()
    }

    fn permissions(&self) -> Vec<Value> {
        let permission = |rights: &Rights| {
            json!({
                "user": rights.user, "vhost": self.vhost, "configure": rights.configure,
                "write": rights.write, "read": rights.read,
            })
        };
        self.users.iter().map(permission).collect()
    }

    fn topic_permissions(&self) -> Vec<Value> {
        let mut all = Vec::new();
        for rights in &self.users {
            for (exchange, keys) in &rights.keys {
                // Nobody binds a queue to an exchange that it may publish to with some keys only.
                all.push(json!({
                    "user": rights.user, "vhost": self.vhost, "exchange": exchange,
                    "write": keys, "read": "^$",
                }));
            }
        }
        all
    }

    /// What may change while the broker runs. A policy goes before the arguments of a stream (seen on 3.10.8 and
    /// 4.0.5); of several the one with the highest priority holds, alone.
    fn policies(&self) -> Vec<Value> {
        let policy = |name: &str, pattern: &str, priority: u8, definition: Value| {
            json!({
                "vhost": self.vhost, "name": name, "pattern": pattern, "apply-to": "queues",
                "priority": priority, "definition": definition,
            })
        };
        // Otherwise whoever declares decides, and an import declares all on one node.
        let leaders = "balanced";
        vec![
            policy(
                "vmctl",
                r"^(work|jobs)\.",
                0,
                json!({"queue-leader-locator": leaders}),
            ),
            policy(
                "vmctl-log",
                r"^jobs\.log$",
                1,
                json!({
                    "queue-leader-locator": leaders,
                    "max-age": format!("{}h", self.log.hours),
                    "max-length-bytes": self.log.bytes,
                }),
            ),
        ]
    }

    fn exchanges(&self) -> Vec<Value> {
        let exchange = |exchange: &vmctl_core::topology::ExchangeSpec| {
            let exchange_type = match exchange.exchange_type {
                ExchangeType::Topic => "topic",
                ExchangeType::Fanout => "fanout",
            };
            json!({
                "name": exchange.name, "vhost": self.vhost, "type": exchange_type, "durable": true,
                "auto_delete": false, "internal": false, "arguments": arguments(exchange.arguments()),
            })
        };
        self.topology.exchanges.iter().map(exchange).collect()
    }

    fn queues(&self) -> Vec<Value> {
        let queue = |queue: &vmctl_core::topology::QueueSpec| {
            json!({
                "name": queue.name, "vhost": self.vhost, "durable": true, "auto_delete": false,
                "arguments": arguments(queue.arguments()),
            })
        };
        self.topology.queues.iter().map(queue).collect()
    }

    fn bindings(&self) -> Vec<Value> {
        let queues = self.topology.queues.iter();
        let bindings = queues.flat_map(|queue| queue.bindings.iter().map(move |b| (queue, b)));
        let binding = |(queue, binding): (&vmctl_core::topology::QueueSpec, _)| {
            let binding: &vmctl_core::topology::BindingSpec = binding;
            json!({
                "source": binding.exchange, "vhost": self.vhost, "destination": queue.name,
                "destination_type": "queue", "routing_key": binding.key, "arguments": {},
            })
        };
        bindings.map(binding).collect()
    }
}

fn arguments(arguments: Vec<(&'static str, Argument)>) -> Value {
    let value = |(name, value): (&str, Argument)| {
        let value = match value {
            Argument::Text(text) => Value::from(text),
            Argument::Number(number) => Value::from(number),
        };
        (name.to_owned(), value)
    };
    Value::Object(arguments.into_iter().map(value).collect::<Map<_, _>>())
}
