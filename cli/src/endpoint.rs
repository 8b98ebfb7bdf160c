//! The server's address, parsed once.

use std::{fmt, net::IpAddr, str::FromStr};

use url::{Host, Url};

/// Where the server is: `http` or `https`, without credentials, query or fragment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint(Url);

/// A text that is no address of a server.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ParseEndpointError {
    /// Not an absolute URL.
    #[error("not a URL such as https://vm.example.net")]
    NotAUrl,
    /// Another scheme.
    #[error("the scheme must be http or https")]
    Scheme,
    /// It carries user name or password.
    #[error("a URL with user name or password is not accepted")]
    Credentials,
    /// It carries a query or a fragment.
    #[error("a URL with a query or a fragment is not accepted")]
    Extra,
}

impl FromStr for Endpoint {
    type Err = ParseEndpointError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut url = Url::parse(text.trim()).map_err(|_| ParseEndpointError::NotAUrl)?;
        if !matches!(url.scheme(), "http" | "https") {
            return Err(ParseEndpointError::Scheme);
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err(ParseEndpointError::Credentials);
        }
        if url.query().is_some() || url.fragment().is_some() {
            return Err(ParseEndpointError::Extra);
        }
        let path = url.path().trim_end_matches('/').to_owned();
        // `/v1` is where the API is; people paste it with the rest.
        url.set_path(path.strip_suffix("/v1").unwrap_or(&path));
        Ok(Self(url))
    }
}

impl Endpoint {
    /// Returns the URL of a path of the API; `path` begins with a slash.
    pub fn join(&self, path: &str) -> Url {
        let mut url = self.0.clone();
        let base = url.path().trim_end_matches('/').to_owned();
        url.set_path(&format!("{base}{path}"));
        url
    }

    /// Says whether both name the same server: scheme, host and port.
    pub fn same_origin(&self, other: &Self) -> bool {
        self.0.origin() == other.0.origin()
    }

    /// Says whether the host is this machine.
    pub fn is_loopback(&self) -> bool {
        is_loopback(&self.0)
    }

    /// Says whether the scheme is `https`.
    pub fn is_https(&self) -> bool {
        self.0.scheme() == "https"
    }

    /// Says whether a secret sent there could be read on the way.
    pub fn is_exposed(&self) -> bool {
        is_exposed(&self.0)
    }
}

fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Domain(name)) => name == "localhost" || name.ends_with(".localhost"),
        Some(Host::Ipv4(ip)) => IpAddr::from(ip).is_loopback(),
        Some(Host::Ipv6(ip)) => IpAddr::from(ip).is_loopback(),
        None => false,
    }
}

/// Says whether a secret sent to this URL could be read on the way: plain `http` that leaves the
/// machine.
pub fn is_exposed(url: &Url) -> bool {
    url.scheme() == "http" && !is_loopback(url)
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.as_str().trim_end_matches('/'))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn endpoint(text: &str) -> Endpoint {
        text.parse().unwrap()
    }

    #[test]
    fn paths_are_joined_below_a_prefix() {
        assert_eq!(
            endpoint("http://h:1/").join("/v1/jobs").as_str(),
            "http://h:1/v1/jobs"
        );
        assert_eq!(
            endpoint("https://h/api/").join("/v1").as_str(),
            "https://h/api/v1"
        );
        assert_eq!(
            endpoint("https://h/api/v1/").join("/v1").as_str(),
            "https://h/api/v1"
        );
        assert_eq!(endpoint("https://h").to_string(), "https://h");
    }

    #[test]
    fn what_is_no_address_is_refused() {
        use ParseEndpointError::{Credentials, Extra, NotAUrl, Scheme};
        for (text, error) in [
            ("", NotAUrl),
            ("vm.example.net", NotAUrl),
            ("localhost:8080", Scheme),
            ("ftp://h", Scheme),
            ("http://joe:1234@h", Credentials),
            ("http://h/?a=b", Extra),
            ("http://h/#a", Extra),
        ] {
            assert_eq!(text.parse::<Endpoint>(), Err(error), "{text}");
        }
    }

    #[test]
    fn origin_is_scheme_host_and_port() {
        assert!(endpoint("https://h/a").same_origin(&endpoint("https://h:443/b")));
        assert!(!endpoint("https://h").same_origin(&endpoint("http://h")));
        assert!(!endpoint("http://h:1").same_origin(&endpoint("http://h:2")));
    }

    #[test]
    fn only_plain_http_that_leaves_the_machine_is_exposed() {
        assert!(endpoint("http://vm.example.net").is_exposed());
        for safe in [
            "https://vm.example.net",
            "http://127.0.0.1:8080",
            "http://[::1]:1",
            "http://localhost",
        ] {
            assert!(!endpoint(safe).is_exposed(), "{safe}");
        }
    }
}
