//! What the adapter is told: where the brokers are, and how long anything may take.

use std::{fmt, str::FromStr, time::Duration};

use lapin::uri::{AMQPScheme, AMQPUri};
use url::Url;

/// The address of a broker. It may hold a password, which is never shown.
#[derive(Clone)]
pub struct SecretUrl(AMQPUri);

/// A text that is not the address of a broker. The text itself is not repeated.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidUrl {
    /// Not a URL of one of the two schemes.
    #[error("not a URL such as amqp://127.0.0.1:5672/%2f or amqps://broker.example/%2f")]
    Form,
    /// AMQP 0-9-1 keeps the name of a virtual host in a short string.
    #[error("the name of the virtual host has more than 255 bytes")]
    LongVhost,
}

impl FromStr for SecretUrl {
    type Err = InvalidUrl;

    /// Reads `amqp://user:password@host:port/vhost?heartbeat=10` or `amqps://…`. Without a path the
    /// virtual host is `/`, and also with an empty one.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let url = Url::parse(text).map_err(|_| InvalidUrl::Form)?;
        let mut uri = AMQPUri::from_str(text).map_err(|_| InvalidUrl::Form)?;
        // The library takes any host that is not a name, such as [::1], for "localhost".
        url.host_str()
            .filter(|host| !host.is_empty())
            .ok_or(InvalidUrl::Form)?
            .trim_matches(['[', ']'])
            .clone_into(&mut uri.authority.host);
        if uri.vhost.is_empty() {
            "/".clone_into(&mut uri.vhost);
        }
        if uri.vhost.len() > 255 {
            return Err(InvalidUrl::LongVhost);
        }
        Ok(Self(uri))
    }
}

impl SecretUrl {
    pub(super) fn uri(&self) -> &AMQPUri {
        &self.0
    }

    pub(super) fn host(&self) -> &str {
        &self.0.authority.host
    }

    pub(super) fn port(&self) -> u16 {
        self.0.authority.port
    }

    pub(super) fn is_tls(&self) -> bool {
        self.0.scheme == AMQPScheme::AMQPS
    }
}

/// Shows scheme, host, port and virtual host.
impl fmt::Display for SecretUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let AMQPUri {
            scheme,
            authority,
            vhost,
            ..
        } = &self.0;
        let (host, port) = (&authority.host, authority.port);
        let vhost = vhost.replace('/', "%2f");
        if host.contains(':') {
            write!(f, "{scheme}://[{host}]:{port}/{vhost}")
        } else {
            write!(f, "{scheme}://{host}:{port}/{vhost}")
        }
    }
}

impl fmt::Debug for SecretUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Settings of the adapter. Every duration bounds one wait.
#[derive(Debug, Clone)]
pub struct Config {
    /// The brokers of one cluster. The next one is tried when one fails.
    pub urls: Vec<SecretUrl>,
    /// Names the connections in the broker's own lists.
    pub name: String,
    /// How many messages may be in flight at once: each has a channel of its own meanwhile.
    pub channels: usize,
    /// How often each side shows that it lives; a silent peer is given up after two.
    pub heartbeat: Duration,
    /// From the call of a publish to its answer.
    pub confirm_timeout: Duration,
    /// How long a peer may take to begin the handshake.
    pub probe_timeout: Duration,
    /// How long the whole handshake may take.
    pub connect_timeout: Duration,
    /// How long any other call to the broker may take.
    pub call_timeout: Duration,
    /// The pause after all addresses failed once; it doubles from round to round.
    pub backoff_min: Duration,
    /// The longest pause between two rounds.
    pub backoff_max: Duration,
    /// After how long without a delivery an idle consumer subscribes again, in case the broker has
    /// forgotten it.
    pub idle_refresh: Duration,
    /// Certificates, as PEM, to trust besides those of the system.
    pub ca_pem: Option<String>,
}

impl Config {
    /// Returns the default settings for these brokers.
    pub fn new(urls: Vec<SecretUrl>) -> Self {
        Self {
            urls,
            name: "vmctl".to_owned(),
            channels: 32,
            heartbeat: Duration::from_secs(10),
            confirm_timeout: Duration::from_secs(5),
            probe_timeout: Duration::from_secs(3),
            connect_timeout: Duration::from_secs(10),
            call_timeout: Duration::from_secs(5),
            backoff_min: Duration::from_millis(200),
            backoff_max: Duration::from_secs(5),
            idle_refresh: Duration::from_secs(30),
            ca_pem: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url(text: &str) -> SecretUrl {
        text.parse().unwrap()
    }

    #[test]
    fn no_credential_is_shown() {
        let config = Config::new(vec![
            url("amqp://joe:canary@host:1234/%2f?heartbeat=7"),
            url("amqps://canary:can%40ary@[::1]/v"),
        ]);
        let shown = format!("{config:?} {}", config.urls[0]);
        assert!(
            !shown.contains("canary") && !shown.contains("can"),
            "{shown}"
        );
        assert_eq!(config.urls[0].to_string(), "amqp://host:1234/%2f");
        assert_eq!(config.urls[1].to_string(), "amqps://[::1]:5671/v");
        for text in [
            "amqp://joe:can ary@",
            "http://joe:canary@host/",
            "canary",
            "",
        ] {
            let error = text.parse::<SecretUrl>().unwrap_err();
            assert!(!format!("{error:?} {error}").contains("can"), "{error}");
        }
    }

    #[test]
    fn an_ip_address_is_not_taken_for_localhost() {
        assert_eq!(url("amqp://[fd00::7]:5672/%2f").host(), "fd00::7");
        assert_eq!(url("amqp://10.0.0.7/%2f").host(), "10.0.0.7");
        assert_eq!(url("amqp://broker.example").host(), "broker.example");
    }

    #[test]
    fn the_virtual_host_is_decoded() {
        for (text, vhost) in [
            ("amqp://host", "/"),
            ("amqp://host/", "/"),
            ("amqp://host/%2f", "/"),
            ("amqp://host/jobs%2Ftest", "jobs/test"),
        ] {
            assert_eq!(url(text).uri().vhost, vhost, "{text}");
        }
        let long = format!("amqp://host/{}", "v".repeat(256));
        assert_eq!(
            long.parse::<SecretUrl>().unwrap_err(),
            InvalidUrl::LongVhost
        );
    }
}
