//! Tests that need a broker and a look inside.
