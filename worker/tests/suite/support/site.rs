//! A worker that delivers callbacks, and the commands that ask it to.

use std::{sync::Arc, time::Duration};

use serde_json::json;
use standardwebhooks::Webhook;
use vmctl_core::{
    Kind,
    callback::{self, DeliveryInput},
    clock::SystemClock,
    event::Event,
};
use vmctl_egress::{Guard, Policy};
use vmctl_worker::{
    Config,
    callbacks::{Client, ClientConfig, Schedule, Secrets},
    kinds::{self, CallbackDeliver},
};

use super::{
    Started, World, event_after_start,
    receiver::{Hit, Receiver},
};

pub const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
pub const OLD: &str = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD";

pub fn delivery_kind() -> Kind {
    callback::KIND.parse().unwrap()
}

/// What may be called here: this machine, on any port that the test names.
pub fn policy(ports: &[u16], allow: &[&str]) -> Policy {
    Policy {
        allow_http: true,
        ports: ports.to_vec(),
        allow_networks: allow.iter().map(|text| text.parse().unwrap()).collect(),
    }
}

pub struct Site {
    pub world: World,
    _worker: Started,
}

impl Site {
    /// A worker that may call receivers on this machine.
    pub async fn new(receivers: &[&Receiver]) -> Self {
        let ports: Vec<_> = receivers.iter().map(|r| r.address.port()).collect();
        Self::with(Guard::new(policy(&ports, &["127.0.0.0/8"]))).await
    }

    pub async fn with(guard: Guard) -> Self {
        let config = ClientConfig {
            timeout: Duration::from_millis(500),
            ..ClientConfig::default()
        };
        Self::bounded(guard, config).await
    }

    pub async fn bounded(guard: Guard, config: ClientConfig) -> Self {
        vmctl_daemon::install_crypto();
        let world = World::new().await;
        let handler = CallbackDeliver::new(
            Client::new(guard, &config).unwrap(),
            Secrets::new(Some(format!("{SECRET}\n{OLD}").into()), None).unwrap(),
            Schedule::default(),
            // Receivers compare it with theirs.
            Arc::new(SystemClock),
        );
        let handlers = kinds::callbacks(handler).into_iter().collect();
        let worker = world.start_handlers(Config::new("w1"), handlers);
        Self {
            world,
            _worker: worker,
        }
    }

    /// A command as the reader makes it.
    pub fn command(&self, url: &str, attempt: u32) -> Event {
        let input = DeliveryInput {
            job_id: "0198f2a4-7c1e-7a00-8abc-1f2e3d4c5b6a".parse().unwrap(),
            epoch: 0,
            url: url.to_owned(),
            secret_ref: "default".to_owned(),
            event: json!({"specversion": "1.0", "data": {"state": "succeeded", "text": "é\u{1F980}"}}),
        };
        let mut event = self.world.command(delivery_kind(), json!(input));
        event.data.job.max_attempts = 10;
        event.data.attempt = attempt;
        event
    }

    /// Runs one attempt and returns what it said.
    pub async fn attempt(&self, command: &Event) -> Event {
        let id = self.world.publish(command).await;
        event_after_start(&self.world, id).await
    }

    pub async fn deliver(&self, url: &str) -> Event {
        self.attempt(&self.command(url, 1)).await
    }
}

pub fn error_type(event: &Event) -> &str {
    &event.data.error.as_ref().unwrap().error_type
}

pub fn verify(hit: &Hit, secret: &str) -> bool {
    Webhook::new(secret)
        .unwrap()
        .verify(&hit.body, &hit.headers)
        .is_ok()
}
