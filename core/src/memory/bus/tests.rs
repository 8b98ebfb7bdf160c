//! Tests of what only this backend promises.
