//! What the server does with jobs, apart from HTTP.

pub(crate) mod admission;
pub(crate) mod callbacks;
pub(crate) mod cancel;
pub(crate) mod dead;
pub(crate) mod doorbell;
pub(crate) mod entry;
pub(crate) mod ids;
pub(crate) mod in_line;
pub(crate) mod journal;
pub(crate) mod list;
pub(crate) mod marks;
pub(crate) mod plan;
pub(crate) mod publish;
pub(crate) mod request;
pub(crate) mod retry;
pub(crate) mod search;
pub(crate) mod skew;
pub(crate) mod stories;
pub(crate) mod submit;
pub(crate) mod twins;
pub(crate) mod unique;
pub(crate) mod view;
pub(crate) mod wait;
