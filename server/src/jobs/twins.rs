//! Submissions under way with an `Idempotency-Key`, in this process.
//!
//! The first one publishes; a second one with the same request waits for it and is given its
//! outcome. Another request with the same key waits too, and is judged then by what is stored: the one under
//! way may itself not be the key's owner. Between processes nothing is needed for correctness: both would publish under the same
//! derived id, and copies are absorbed.

use std::{
    collections::{HashMap, hash_map::Entry},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tokio::{
    sync::watch,
    time::{Instant, timeout_at},
};
use vmctl_api_types::ProblemType;

use crate::{error::ApiError, jobs::submit::Accepted};

type Flights = Arc<Mutex<HashMap<String, Flight>>>;

/// The submissions under way, by project, route and key.
#[derive(Default)]
pub(crate) struct Twins(Flights);

struct Flight {
    fingerprint: String,
    landed: watch::Receiver<Option<Accepted>>,
}

/// Where a submission finds itself.
enum Boarding {
    First(Ticket),
    /// After another one, which will say this.
    Behind(watch::Receiver<Option<Accepted>>),
    /// After another request, until this is closed.
    Blocked(watch::Receiver<Option<Accepted>>),
}

/// What a submission with a key may do.
pub(crate) enum Turn {
    /// Go ahead, holding this until it has ended.
    First(Ticket),
    /// Another one of the same request was accepted meanwhile.
    Landed(Box<Accepted>),
}

/// The right to submit under one key. Dropping it lets the next one try.
pub(crate) struct Ticket {
    name: String,
    landed: watch::Sender<Option<Accepted>>,
    flights: Flights,
}

impl Twins {
    /// Waits for this request's turn, at most `patience`.
    pub async fn turn(
        &self,
        name: &str,
        fingerprint: &str,
        patience: Duration,
    ) -> Result<Turn, ApiError> {
        let deadline = Instant::now() + patience;
        loop {
            let waited = match self.board(name, fingerprint) {
                Boarding::First(ticket) => return Ok(Turn::First(ticket)),
                Boarding::Behind(mut landed) => {
                    timeout_at(deadline, async {
                        let outcome = landed.wait_for(Option::is_some).await;
                        outcome.ok().and_then(|outcome| outcome.clone())
                    })
                    .await
                }
                Boarding::Blocked(mut landed) => {
                    timeout_at(deadline, async {
                        while landed.changed().await.is_ok() {}
                        None
                    })
                    .await
                }
            };
            match waited {
                Ok(Some(accepted)) => return Ok(Turn::Landed(Box::new(accepted))),
                // The first one failed, or was of another request; this one may try.
                Ok(None) => {}
                Err(_) => {
                    return Err(ApiError::new(ProblemType::IdempotencyInFlight)
                        .retry_after(1)
                        .detail("the first request with this key has no outcome yet"));
                }
            }
        }
    }

    /// Takes the place of the first one, or returns what the first one will say.
    fn board(&self, name: &str, fingerprint: &str) -> Boarding {
        let mut flights = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match flights.entry(name.to_owned()) {
            Entry::Occupied(flight) => {
                let Flight {
                    fingerprint: first,
                    landed,
                } = flight.get();
                if first == fingerprint {
                    Boarding::Behind(landed.clone())
                } else {
                    Boarding::Blocked(landed.clone())
                }
            }
            Entry::Vacant(place) => {
                let (sender, landed) = watch::channel(None);
                place.insert(Flight {
                    fingerprint: fingerprint.to_owned(),
                    landed,
                });
                Boarding::First(Ticket {
                    name: name.to_owned(),
                    landed: sender,
                    flights: Arc::clone(&self.0),
                })
            }
        }
    }
}

impl Ticket {
    /// Tells those who wait.
    pub fn land(&self, accepted: &Accepted) {
        self.landed.send_replace(Some(accepted.clone()));
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        self.flights
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(&self.name);
    }
}

/// The key belongs to another request.
pub(crate) fn mismatch() -> ApiError {
    ApiError::new(ProblemType::IdempotencyMismatch)
        .detail("take a new key for another request; the first one's body must be repeated exactly")
}
