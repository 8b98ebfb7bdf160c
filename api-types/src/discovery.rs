//! `GET /v1`: what a client must know before it can log in.

use serde::{Deserialize, Serialize};

/// The server introduces itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Discovery {
    /// Always `world`, as the original service answers.
    pub hello: String,
    /// Always `vmctl`.
    pub product: String,
    /// Version of the server.
    pub version: String,
    /// How to log in.
    pub auth: AuthDiscovery,
    /// How a job can be followed, best first: `event-stream`, `long-poll`, `poll`.
    pub transports: Vec<String>,
}

/// How to log in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(tag = "type", rename_all = "lowercase")]
pub enum AuthDiscovery {
    /// Directly with Keystone; the password never passes through the server.
    Keystone {
        /// Keystone's address for clients, ending in `/v3`.
        url: String,
    },
    /// By `POST /v1/connect` on this server.
    Connect,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn auth_is_tagged() {
        let keystone = AuthDiscovery::Keystone {
            url: "http://k/v3".into(),
        };
        assert_eq!(
            serde_json::to_value(keystone).unwrap(),
            serde_json::json!({"type": "keystone", "url": "http://k/v3"})
        );
        assert_eq!(
            serde_json::to_value(AuthDiscovery::Connect).unwrap(),
            serde_json::json!({"type": "connect"})
        );
    }
}
