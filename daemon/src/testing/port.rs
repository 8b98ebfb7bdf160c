//! A port that is known before anybody listens on it.

use std::{
    collections::HashSet,
    hash::{BuildHasher as _, Hasher as _, RandomState},
    net::TcpListener,
    ops::Range,
    sync::{Mutex, PoisonError},
};

/// Below the ports that the kernel gives to clients and those of `scripts/services`: one of these
/// would be taken while nobody listens.
const PORTS: Range<u16> = 10_240..20_000;

/// Every port that this process has chosen. None is given twice: whoever has it may not listen yet,
/// or not at the moment.
static CHOSEN: Mutex<Option<HashSet<u16>>> = Mutex::new(None);

/// Chooses a port of loopback on which nobody listens.
pub fn free_port() -> u16 {
    let mut chosen = CHOSEN.lock().unwrap_or_else(PoisonError::into_inner);
    let chosen = chosen.get_or_insert_default();
    for _ in 0..100 {
        // The standard library seeds it from the system's random numbers.
        let random = RandomState::new().build_hasher().finish() % PORTS.len() as u64;
        let random = u16::try_from(random).expect("it is below the number of ports");
        let port = PORTS.start + random;
        if TcpListener::bind(("127.0.0.1", port)).is_ok() && chosen.insert(port) {
            return port;
        }
    }
    panic!("no free port in {PORTS:?}")
}
