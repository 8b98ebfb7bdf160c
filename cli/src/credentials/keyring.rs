//! The system's keyring, bounded.
//!
//! A Secret Service that owns its name and never answers blocks a call for ever, and a blocked
//! thread of a runtime blocks its end. So each call has a plain thread of its own and a deadline:
//! on expiry the thread is left behind, no further call is made, and the process leaves by
//! `process::exit`.

use std::{
    sync::{
        atomic::{AtomicBool, Ordering},
        mpsc,
    },
    thread,
    time::Duration,
};

use keyring::{Entry, Error};

use super::{Payload, StoreError};

/// How long a call may take. With a locked keyring and a desktop this is too short to type a
/// passphrase: the command then says so, and works once the keyring is unlocked.
pub const DEADLINE: Duration = Duration::from_secs(3);

/// The service under which entries are found; the user is the context's name.
const SERVICE: &str = "vmctl";

/// The entry that a probe writes and removes.
const PROBE: &str = "probe";

/// Set once a call has expired: the connection is shared, so the next one would wait as long.
static HUNG: AtomicBool = AtomicBool::new(false);

/// The keyring of this session.
pub struct Keyring {
    _private: (),
}

impl Keyring {
    /// Connects to nothing yet.
    pub const fn new() -> Self {
        Self { _private: () }
    }

    /// Reads an entry; `None` if the keyring says that there is none, which a keyring that was
    /// never unlocked also says.
    pub fn get(&self, user: &str) -> Result<Option<Payload>, StoreError> {
        let user = user.to_owned();
        let text = bounded(move || match entry(&user)?.get_password() {
            Ok(text) => Ok(Some(text)),
            Err(Error::NoEntry) => Ok(None),
            Err(error) => Err(classify(&error)),
        })?;
        text.map(|text| {
            serde_json::from_str(&text).map_err(|_| {
                StoreError::Keyring(
                    "its entry for vmctl cannot be understood; log in again".to_owned(),
                )
            })
        })
        .transpose()
    }

    /// Writes an entry.
    pub fn set(&self, user: &str, payload: &Payload) -> Result<(), StoreError> {
        let text = serde_json::to_string(payload)
            .map_err(|error| StoreError::Keyring(error.to_string()))?;
        let user = user.to_owned();
        bounded(move || {
            entry(&user)?
                .set_password(&text)
                .map_err(|error| classify(&error))
        })
    }

    /// Removes an entry; one that is not there is fine.
    pub fn delete(&self, user: &str) -> Result<(), StoreError> {
        let user = user.to_owned();
        bounded(move || remove(&user))
    }

    /// Says whether the keyring can hold a secret, by writing and removing one.
    pub fn probe(&self) -> Result<(), StoreError> {
        bounded(move || {
            entry(PROBE)?
                .set_password("probe")
                .map_err(|error| classify(&error))?;
            remove(PROBE)
        })
    }
}

impl Default for Keyring {
    fn default() -> Self {
        Self::new()
    }
}

fn remove(user: &str) -> Result<(), StoreError> {
    match entry(user)?.delete_credential() {
        Ok(()) | Err(Error::NoEntry) => Ok(()),
        Err(error) => Err(classify(&error)),
    }
}

fn entry(user: &str) -> Result<Entry, StoreError> {
    if let Err(error) = Entry::store_status() {
        return Err(match classify(error) {
            // No connection at all: whatever the bus says about it, there is no keyring.
            StoreError::Keyring(why) => StoreError::Absent(why),
            other => other,
        });
    }
    Entry::new(SERVICE, user).map_err(|error| classify(&error))
}

/// Runs a call on a thread of its own and waits for it until the deadline.
fn bounded<T: Send + 'static>(
    call: impl FnOnce() -> Result<T, StoreError> + Send + 'static,
) -> Result<T, StoreError> {
    bounded_by(DEADLINE, &HUNG, call)
}

fn bounded_by<T: Send + 'static>(
    deadline: Duration,
    hung: &AtomicBool,
    call: impl FnOnce() -> Result<T, StoreError> + Send + 'static,
) -> Result<T, StoreError> {
    if hung.load(Ordering::Relaxed) {
        return Err(StoreError::NeverAnswers);
    }
    let (send, receive) = mpsc::channel();
    thread::Builder::new()
        .name("keyring".to_owned())
        .spawn(move || {
            // The receiver is gone after the deadline, and then nobody wants the result.
            let _ = send.send(call());
        })
        .map_err(|error| StoreError::Keyring(error.to_string()))?;
    match receive.recv_timeout(deadline) {
        Ok(result) => result,
        Err(mpsc::RecvTimeoutError::Timeout) => {
            hung.store(true, Ordering::Relaxed);
            Err(StoreError::NeverAnswers)
        }
        Err(mpsc::RecvTimeoutError::Disconnected) => Err(StoreError::Keyring(
            "the call ended without a result".to_owned(),
        )),
    }
}

/// Tells the failures apart. The store's errors are boxed, so their texts decide; the tests on a
/// real keyring hold them in place.
fn classify(error: &Error) -> StoreError {
    match error {
        Error::NoStorageAccess(cause) => {
            let text = cause.to_string();
            if text.contains("result not returned") {
                StoreError::NoCollection
            } else if text.contains("locked") || text.contains("prompt") {
                StoreError::Locked
            } else {
                StoreError::Keyring(text)
            }
        }
        Error::PlatformFailure(cause) => {
            let text = cause.to_string();
            let absent = [
                "ServiceUnknown",
                "no secret service",
                "NotFound",
                "InputOutput",
                "I/O error",
                "not provided by any",
            ];
            if absent.iter().any(|part| text.contains(part)) {
                StoreError::Absent(text)
            } else if text.contains("IsLocked") {
                StoreError::Locked
            } else {
                StoreError::Keyring(text)
            }
        }
        Error::NoDefaultStore => StoreError::Absent("this system has none".to_owned()),
        other => StoreError::Keyring(other.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;

    #[test]
    fn a_call_that_never_ends_costs_the_deadline_once() {
        static HUNG: AtomicBool = AtomicBool::new(false);
        let deadline = Duration::from_millis(50);
        let (release, held) = mpsc::channel::<()>();
        let started = Instant::now();
        let result = bounded_by(deadline, &HUNG, move || {
            let _ = held.recv();
            Ok(())
        });
        assert_eq!(result, Err(StoreError::NeverAnswers));
        assert!(started.elapsed() >= deadline);
        let again = bounded_by(Duration::from_secs(60), &HUNG, || Ok(()));
        assert_eq!(again, Err(StoreError::NeverAnswers));
        drop(release);
    }

    #[test]
    fn a_call_that_panics_is_a_failure() {
        static HUNG: AtomicBool = AtomicBool::new(false);
        let result: Result<(), _> =
            bounded_by(Duration::from_secs(60), &HUNG, || panic!("on purpose"));
        assert!(matches!(result, Err(StoreError::Keyring(_))));
    }
}
