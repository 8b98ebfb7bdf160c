//! The suite as its users and its operators meet it: the programs as processes, on real RabbitMQ,
//! Redis and Keystone, while some of these are killed, stopped, flushed and started again.
//!
//! Every test has a virtual host, a Redis and a directory of machines of its own. The programs are
//! those beside this test in the target directory; `cargo test --workspace` builds them first, and
//! so does `cargo build --workspace --bins`. Addresses come from the environment, as
//! `scripts/services env` prints them; where they are absent a test says so and passes, unless
//! `VMCTL_TEST_STRICT` is 1.

#![expect(clippy::print_stderr, reason = "a test says what it saw")]

mod support;

mod callbacks;
mod cancels;
mod client;
mod crashes;
mod dead;
mod deploy;
mod failures;
mod fairness;
mod flows;
mod flushes;
mod languages;
mod losses;
mod monitoring;
mod names;
mod outages;
mod projects;
mod rights;
mod rolling;
mod room;
mod search;
mod secrets;
mod signals;
mod strangers;
mod streams;
mod synchronous;
mod tls;
mod tls_everywhere;
mod tls_links;
mod traces;
mod transcript;
mod turns;
mod ui;
mod workers;
