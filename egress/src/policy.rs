//! What an address of a user's may look like. Pure.

use std::net::IpAddr;

use url::{Host, Url};

use crate::networks::Network;

/// Longest address, in bytes.
pub const MAX_URL: usize = 2048;

/// What may be called.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Policy {
    /// Whether `http` is allowed too, and then its port 80. For development: whoever is on the way
    /// can read and change what is sent.
    pub allow_http: bool,
    /// Ports that may be called.
    pub ports: Vec<u16>,
    /// Networks that may be called although they are not public, such as the operator's own.
    pub allow_networks: Vec<Network>,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            allow_http: false,
            ports: vec![443, 8443],
            allow_networks: Vec::new(),
        }
    }
}

/// An address that was read: what it looks like is allowed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target(Url);

impl Target {
    /// Returns the address as it is called.
    pub fn url(&self) -> &Url {
        &self.0
    }
}

/// A rule that an address breaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// No URL, or one without a host.
    #[error("it is not a URL with a host")]
    Malformed,
    /// More than [`MAX_URL`] bytes.
    #[error("it has more than 2048 bytes")]
    TooLong,
    /// Characters that two readers may understand in two ways.
    #[error(
        "it can be read in two ways: it has spaces, backslashes, characters beyond ASCII, or a host that is not \
         written as its name in punycode or as four decimal numbers"
    )]
    Ambiguous,
    /// Another scheme than `https`.
    #[error("its scheme must be https")]
    Scheme,
    /// A user name or a password.
    #[error("it must not have a user name or a password")]
    UserInfo,
    /// A fragment, which would not be sent.
    #[error("it must not have a fragment")]
    Fragment,
    /// A port that is not allowed.
    #[error("its port is not allowed")]
    Port,
    /// An address, or a name for this machine, that may not be called.
    #[error("its address may not be called")]
    Address,
}

impl Policy {
    /// Reads an address and checks everything but where it leads.
    ///
    /// # Errors
    ///
    /// The first rule that it breaks.
    pub fn read(&self, text: &str) -> Result<Target, Refusal> {
        if text.len() > MAX_URL {
            return Err(Refusal::TooLong);
        }
        // A parser of URLs turns backslashes into slashes, drops tabs and newlines, and maps digits
        // of other scripts to ours. Others do not.
        if !text.bytes().all(|b| b.is_ascii_graphic() && b != b'\\') {
            return Err(Refusal::Ambiguous);
        }
        let url: Url = text.parse().map_err(|_| Refusal::Malformed)?;
        match url.scheme() {
            "https" => {}
            "http" if self.allow_http => {}
            _ => return Err(Refusal::Scheme),
        }
        // An empty user name is not in the parsed form any more.
        if authority(text).contains('@') || !url.username().is_empty() || url.password().is_some() {
            return Err(Refusal::UserInfo);
        }
        if url.fragment().is_some() {
            return Err(Refusal::Fragment);
        }
        let host = url.host().ok_or(Refusal::Malformed)?;
        if !is_written_as(authority(text), &host) {
            return Err(Refusal::Ambiguous);
        }
        match host {
            Host::Domain(name) if is_local(name) => return Err(Refusal::Address),
            _ => {}
        }
        let port = url.port_or_known_default().ok_or(Refusal::Port)?;
        if !(self.ports.contains(&port) || self.allow_http && port == 80) {
            return Err(Refusal::Port);
        }
        Ok(Target(url))
    }

    /// Says whether the operator has allowed the network of an address.
    pub fn allows(&self, ip: IpAddr) -> bool {
        self.allow_networks
            .iter()
            .any(|network| network.contains(ip))
    }
}

/// Everything between the scheme and the path, as it was written.
fn authority(text: &str) -> &str {
    let rest = text.split_once(':').map_or(text, |(_, rest)| rest);
    let rest = rest.trim_start_matches('/');
    rest.split(['/', '?', '#']).next().unwrap_or_default()
}

/// Says whether a host was written as it was understood. A parser of URLs takes `0x7f.1`, `127.1` and `010.8.8.8` for
/// addresses and decodes `%6c`; others read another host there.
fn is_written_as(authority: &str, host: &Host<&str>) -> bool {
    let written = authority.split(':').next().unwrap_or_default();
    match host {
        Host::Ipv4(ip) => written == ip.to_string(),
        Host::Domain(name) => written.eq_ignore_ascii_case(name),
        // In brackets, and of one meaning however it is shortened.
        Host::Ipv6(_) => true,
    }
}

/// Says whether a name means this machine everywhere (RFC 6761, section 6.3).
fn is_local(name: &str) -> bool {
    let name = name.strip_suffix('.').unwrap_or(name);
    name == "localhost" || name.ends_with(".localhost")
}
