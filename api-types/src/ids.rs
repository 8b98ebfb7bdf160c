//! Identifiers that are parsed once, at the edge.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Deserializer, Serialize};
use uuid::Uuid;

/// Identifies one job.
///
/// Version 7 when the server drew it (it then carries its own time), version 8 when it was derived
/// from an `Idempotency-Key` (RFC 9562, sections 5.7 and 5.8). The only accepted spelling is the
/// canonical one: 36 characters, lower case, with hyphens.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema), schema(value_type = String, format = Uuid))]
pub struct JobId(Uuid);

impl JobId {
    /// Wraps a UUID that this system made.
    pub const fn from_uuid(id: Uuid) -> Self {
        Self(id)
    }

    /// Returns the UUID.
    pub const fn as_uuid(&self) -> &Uuid {
        &self.0
    }

    /// Returns the milliseconds since the Unix epoch that a version 7 id carries.
    pub fn unix_ms(&self) -> Option<i64> {
        if self.0.get_version_num() != 7 {
            return None;
        }
        let (ms, _) = self.0.as_u64_pair();
        i64::try_from(ms >> 16).ok()
    }

    /// Says whether the id is of a version that this system hands out.
    pub fn is_ours(&self) -> bool {
        matches!(self.0.get_version_num(), 7 | 8)
    }
}

impl fmt::Display for JobId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.as_hyphenated().fmt(f)
    }
}

impl fmt::Debug for JobId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A text that is not an identifier of ours.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ParseIdError {
    /// Not a canonical UUID.
    #[error("a job id is a UUID of 36 characters in lower case")]
    JobId,
    /// Not `<domain>.<action>`.
    #[error(
        "a kind is two words of a-z, 0-9, '-' and '_' with a dot between them, at most 64 characters"
    )]
    Kind,
}

impl FromStr for JobId {
    type Err = ParseIdError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let id = Uuid::try_parse(text).map_err(|_| ParseIdError::JobId)?;
        // Braces, URNs, upper case and the form without hyphens name the same job by another text;
        // one spelling keeps logs and caches searchable.
        let mut buffer = Uuid::encode_buffer();
        if id.as_hyphenated().encode_lower(&mut buffer) == text {
            Ok(Self(id))
        } else {
            Err(ParseIdError::JobId)
        }
    }
}

impl<'de> Deserialize<'de> for JobId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// What a job does, as `<domain>.<action>`: `vm.create`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema), schema(value_type = String, example = "vm.create"))]
pub struct Kind(String);

impl Kind {
    /// Longest accepted text, in bytes: routing keys of AMQP 0-9-1 end at 255.
    pub const MAX_LEN: usize = 64;

    /// Returns the whole text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns the word before the dot.
    pub fn domain(&self) -> &str {
        self.0.split_once('.').map_or("", |(domain, _)| domain)
    }

    /// Returns the word after the dot.
    pub fn action(&self) -> &str {
        self.0.split_once('.').map_or("", |(_, action)| action)
    }
}

impl FromStr for Kind {
    type Err = ParseIdError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let word = |w: &str| {
            !w.is_empty()
                && w.bytes()
                    .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-' || b == b'_')
        };
        match text.split_once('.') {
            Some((domain, action))
                if text.len() <= Self::MAX_LEN && word(domain) && word(action) =>
            {
                Ok(Self(text.to_owned()))
            }
            _ => Err(ParseIdError::Kind),
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for Kind {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn job_id_accepts_the_canonical_spelling_only() {
        let text = "0198f2a4-7c1e-7a00-8abc-1f2e3d4c5b6a";
        let id: JobId = text.parse().unwrap();
        assert_eq!(id.to_string(), text);
        assert!(id.is_ours());
        for bad in [
            "",
            "nope",
            "0198F2A4-7C1E-7A00-8ABC-1F2E3D4C5B6A",
            "{0198f2a4-7c1e-7a00-8abc-1f2e3d4c5b6a}",
            "urn:uuid:0198f2a4-7c1e-7a00-8abc-1f2e3d4c5b6a",
            "0198f2a47c1e7a008abc1f2e3d4c5b6a",
            "0198f2a4-7c1e-7a00-8abc-1f2e3d4c5b6",
            "0198f2a4-7c1e-7a00-8abc-1f2e3d4c5b6aa",
        ] {
            assert_eq!(bad.parse::<JobId>(), Err(ParseIdError::JobId), "{bad}");
        }
    }

    #[test]
    fn only_version_7_carries_a_time() {
        let v7: JobId = "0198f2a4-7c1e-7a00-8abc-1f2e3d4c5b6a".parse().unwrap();
        assert_eq!(v7.unix_ms(), Some(0x0198_f2a4_7c1e));
        let v4: JobId = "7fda68b7-b4de-45a6-99fd-57b019cf19ae".parse().unwrap();
        assert_eq!(v4.unix_ms(), None);
        assert!(!v4.is_ours());
    }

    #[test]
    fn kind_is_two_words() {
        let kind: Kind = "vm.create".parse().unwrap();
        assert_eq!((kind.domain(), kind.action()), ("vm", "create"));
        for bad in [
            "",
            "vm",
            "vm.",
            ".create",
            "vm.create.now",
            "VM.create",
            "vm.*",
            "a.#",
        ] {
            assert_eq!(bad.parse::<Kind>(), Err(ParseIdError::Kind), "{bad}");
        }
        assert!(format!("vm.{}", "a".repeat(64)).parse::<Kind>().is_err());
    }
}
