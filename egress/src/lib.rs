//! Guards against server-side request forgery: a user names an address, and the suite calls it.
//!
//! An address of a user's is safe to call when the text means what it seems to mean ([`Policy`]
//! reads it once and refuses whatever is ambiguous), and when **every** address that its name leads
//! to is public ([`networks`]). Names change, so a name is resolved and checked again on every
//! attempt, and the connection goes to the very addresses that were checked ([`Guard::resolve`]).
//!
//! Users are told that an address is refused and never which one, so that the answer is no map of
//! the operator's network.

pub mod networks;
mod policy;
mod resolver;

use std::{fmt, net::IpAddr, sync::Arc};

use url::Host;

pub use networks::{Network, NetworkError};
pub use policy::{Policy, Refusal, Target};
pub use resolver::{ResolveError, Resolver, SystemResolver};

/// Checks addresses under one policy.
#[derive(Clone)]
pub struct Guard {
    policy: Arc<Policy>,
    resolver: Arc<dyn Resolver>,
}

impl fmt::Debug for Guard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Guard")
            .field("policy", &self.policy)
            .finish_non_exhaustive()
    }
}

impl Default for Guard {
    /// The strictest policy, on the system's resolver.
    fn default() -> Self {
        Self::new(Policy::default())
    }
}

/// Why an address may not be called now.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum GuardError {
    /// The text is refused, whatever it leads to.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// The name leads to an address that may not be called.
    #[error("the name leads to an address that may not be called")]
    Forbidden,
    /// The name could not be resolved.
    #[error(transparent)]
    Unresolved(#[from] ResolveError),
}

impl Guard {
    /// Makes a guard on the system's resolver.
    pub fn new(policy: Policy) -> Self {
        Self::with_resolver(policy, Arc::new(SystemResolver::default()))
    }

    /// Makes a guard on another resolver.
    pub fn with_resolver(policy: Policy, resolver: Arc<dyn Resolver>) -> Self {
        Self {
            policy: Arc::new(policy),
            resolver,
        }
    }

    /// Reads an address without looking its name up.
    ///
    /// # Errors
    ///
    /// The first rule that it breaks.
    pub fn read(&self, text: &str) -> Result<Target, Refusal> {
        let target = self.policy.read(text)?;
        match literal(&target) {
            Some(ip) if !self.may_call(ip) => Err(Refusal::Address),
            _ => Ok(target),
        }
    }

    /// Looks a name up and returns the addresses to connect to: all of them were checked.
    ///
    /// # Errors
    ///
    /// [`GuardError::Forbidden`] when one of them may not be called.
    pub async fn resolve(&self, name: &str) -> Result<Vec<IpAddr>, GuardError> {
        let addresses = self.resolver.resolve(name).await?;
        if addresses.is_empty() {
            return Err(ResolveError::NotFound.into());
        }
        if addresses.iter().all(|ip| self.may_call(*ip)) {
            Ok(addresses)
        } else {
            Err(GuardError::Forbidden)
        }
    }

    /// Reads an address and looks its name up, as whoever accepts it from a user does.
    ///
    /// # Errors
    ///
    /// What speaks against it now. Calling it later needs another look.
    pub async fn check(&self, text: &str) -> Result<Target, GuardError> {
        let target = self.read(text)?;
        if let Some(Host::Domain(name)) = target.url().host() {
            self.resolve(name).await?;
        }
        Ok(target)
    }

    /// Says whether this very address may be called: it is public and none of this machine's, or
    /// the operator has allowed its network.
    pub fn may_call(&self, ip: IpAddr) -> bool {
        if self.policy.allows(ip) {
            return true;
        }
        networks::is_public(ip) && !is_own(networks::canonical(ip))
    }
}

fn literal(target: &Target) -> Option<IpAddr> {
    match target.url().host()? {
        Host::Ipv4(ip) => Some(ip.into()),
        Host::Ipv6(ip) => Some(ip.into()),
        Host::Domain(_) => None,
    }
}

/// Says whether an interface of this machine has the address. When the system does not say, none has:
/// what is private is refused without it.
fn is_own(ip: IpAddr) -> bool {
    if_addrs::get_if_addrs().is_ok_and(|all| all.iter().any(|interface| interface.ip() == ip))
}

#[cfg(test)]
mod tests;
