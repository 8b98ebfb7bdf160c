//! Speaks to Elasticsearch or OpenSearch: the reader puts events there, the server finds jobs there.
//!
//! ```text
//! NAME            a data stream with one document for each event of the log, by the event's id
//! NAME-position   an index with one document: how far the log is in the stream
//! ```
//!
//! What always holds: a document is created and never changed, so repeating does no harm; a call ends
//! within its time and takes a bounded answer; no search is without the project that asks; neither a
//! credential nor what a document holds is in an error.

mod bulk;
mod client;
mod config;
mod document;
mod find;
mod position;
mod setup;
#[cfg(feature = "testing")]
pub mod testing;

pub use bulk::{MOST_BYTES, MOST_DOCUMENTS, Sent, pieces};
pub use client::{Cluster, SearchError};
pub use config::{Auth, Config, ConfigError, IndexName, IndexNameError};
pub use document::Document;
pub use find::{Find, Found, Key};
pub use setup::Flavour;
