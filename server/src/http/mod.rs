//! Reading requests: what a handler is given has been checked.

pub(crate) mod accept;
pub(crate) mod access;
pub(crate) mod auth;
pub(crate) mod body;
pub(crate) mod client;
pub(crate) mod conditional;
pub(crate) mod json;
pub(crate) mod key;
pub(crate) mod path;
pub(crate) mod prefer;
pub(crate) mod query;
pub(crate) mod ratelimit;
pub(crate) mod request_id;
pub(crate) mod trace;
