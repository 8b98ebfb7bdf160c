//! A port that is listened on, left, and listened on again.

use std::{
    hash::{BuildHasher as _, Hasher as _, RandomState},
    net::TcpListener,
    ops::Range,
};

use anyhow::{Result, bail};

/// Below the ports that the kernel gives to clients and those of `scripts/services`: one of these would be taken while
/// nobody listens.
const PORTS: Range<u16> = 10_240..20_000;

/// Chooses a port of loopback that is free.
pub fn free_port() -> Result<u16> {
    for _ in 0..100 {
        // The standard library seeds it from the system's random numbers.
        let random = RandomState::new().build_hasher().finish() % PORTS.len() as u64;
        let port = PORTS.start + u16::try_from(random)?;
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return Ok(port);
        }
    }
    bail!("no free port in {PORTS:?}")
}
