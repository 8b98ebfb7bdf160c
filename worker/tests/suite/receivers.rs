//! Receivers of callbacks that are slow, and those that are not who they say they are.
use std::{net::IpAddr, sync::Arc};

use crate::support::{
    receiver::Receiver,
    site::{Site, error_type, policy},
};
use async_trait::async_trait;
use vmctl_core::event::{Event, EventType};
use vmctl_daemon::testing::{Authority, Identity};
use vmctl_egress::{Guard, ResolveError, Resolver};
use vmctl_worker::{Config, callbacks::ClientConfig};

#[tokio::test]
async fn a_slow_receiver_holds_no_more_than_its_places() {
    const MANY: usize = 20;
    let (slow, other) = (Receiver::slow().await, Receiver::elsewhere().await);
    let ports = [slow.address.port(), other.address.port()];
    let config = ClientConfig::with_slots(Config::new("w1").slots);
    let places = config.per_host;
    let guard = Guard::new(policy(&ports, &["127.0.0.0/8"]));
    let site = Site::bounded(guard, config).await;
    let mut ids = Vec::new();
    for _ in 0..MANY {
        ids.push(site.world.publish(&site.command(&slow.url(), 1)).await);
    }
    crate::support::until("the slow one has all its places", || {
        slow.hits().len() == places
    })
    .await;
    // Behind all of these in the queue.
    let end = site.deliver(&other.url()).await;
    assert_eq!(end.event_type, EventType::Succeeded, "{:?}", end.data.error);
    assert_eq!(slow.hits().len(), places);

    slow.let_go();
    for id in ids {
        let end = site.world.end(id).await;
        assert_eq!(end.event_type, EventType::Succeeded, "{:?}", end.data.error);
        assert_eq!(end.data.attempt, 1, "waiting for a place is no attempt");
    }
    assert_eq!(slow.hits().len(), MANY);
}

/// Every name leads to this machine.
struct Here;

#[async_trait]
impl Resolver for Here {
    async fn resolve(&self, _: &str) -> Result<Vec<IpAddr>, ResolveError> {
        Ok(vec![[127, 0, 0, 1].into()])
    }
}

const NAME: &str = "hooks.example";

/// Delivers to a receiver that shows this, for a worker that trusts these authorities besides the
/// system's.
async fn deliver(host: &str, shown: &Identity, ca_pem: Option<&str>) -> (Event, usize) {
    let receiver = Receiver::with_identity(shown).await;
    let port = receiver.address.port();
    let guard = Guard::with_resolver(policy(&[port], &["127.0.0.0/8"]), Arc::new(Here));
    let config = ClientConfig {
        ca_pem: ca_pem.map(Into::into),
        ..ClientConfig::default()
    };
    let site = Site::bounded(guard, config).await;
    let end = site.deliver(&format!("https://{host}:{port}/hook")).await;
    (end, receiver.hits().len())
}

#[tokio::test]
async fn a_receiver_that_a_private_authority_vouches_for_is_told() {
    let ours = Authority::new("ours");
    // The bundle may have others before it.
    let bundle = format!("{}{}", Authority::new("another").pem(), ours.pem());
    for host in [NAME, "127.0.0.1"] {
        let (end, hits) = deliver(host, &ours.issue(&[host]), Some(&bundle)).await;
        assert_eq!(
            end.event_type,
            EventType::Succeeded,
            "{host}: {:?}",
            end.data.error
        );
        assert_eq!(hits, 1, "{host}");
    }
}

#[tokio::test]
async fn a_receiver_that_nobody_trusted_vouches_for_is_told_nothing() {
    let (ours, theirs) = (Authority::new("ours"), Authority::new("theirs"));
    let trusted = ours.pem();
    for (why, shown, ca_pem) in [
        ("unknown authority", theirs.issue(&[NAME]), Some(&trusted)),
        ("no authority", ours.issue(&[NAME]), None),
        ("wrong name", ours.issue(&["other.example"]), Some(&trusted)),
        (
            "an address, no name",
            ours.issue(&["127.0.0.1"]),
            Some(&trusted),
        ),
        ("expired", ours.issue_expired(&[NAME]), Some(&trusted)),
    ] {
        let (end, hits) = deliver(NAME, &shown, ca_pem.map(String::as_str)).await;
        assert_eq!(end.event_type, EventType::Retry, "{why}");
        assert_eq!(error_type(&end), "unreachable", "{why}");
        assert_eq!(hits, 0, "{why}");
    }
}
