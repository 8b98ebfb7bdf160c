//! The API, driven through its router over memory backends; a few cases through a real socket.

mod answering;
mod audit;
mod auth;
mod bad_input;
mod callbacks;
mod cancel;
mod compat;
mod guards;
mod idempotency;
mod list;
mod logs;
mod matrix;
mod project_streams;
mod quota;
mod result;
mod retry;
mod scheduled;
mod serving;
mod socket;
mod streams;
mod submission;
mod support;
mod sync;
mod t14;
mod unique;
mod waiting;
